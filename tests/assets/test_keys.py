"""Keys come from the environment and stay there: a run that fails half-way leaves them nowhere."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import duckdb
import lancedb
import pytest
from dagster_shared.serdes import serialize_value

from onaspr_assets.build import build_defs
from onaspr_core.rewriting import client
from tests.core.rewriting.endpoint import KEY, FakeEndpoint, Reply
from tests.small_project import models_stood_in_for, save_models, write_world

PLANTED = {"OPENAI_API_KEY": KEY, "HF_TOKEN": "hf_planted4712", "AWS_SECRET_ACCESS_KEY": "planted/aws+4713"}
REFUSED = Reply(status=401, body=f'{{"error": {{"message": "Incorrect key: {KEY}", "type": "x"}}}}'.encode())
TELLING = [
    Reply(status=500, body=f"<html>Authorization: Bearer {KEY}</html>".encode()),
    Reply(body=f"Bearer {KEY} is what you sent".encode()),
    Reply(f"A red cat sleeps near the chair with {KEY}."),
    Reply("A red cat sleeps softly."),
    Reply("A pair of dogs run happily."),
    Reply("A night at sea with tall ships."),
]
"""An endpoint that is being debugged: it fails, and says what it was sent."""

HOME = """
telemetry: {enabled: false}
python_logs: {managed_python_loggers: [onaspr, openai, httpx2, httpcore2], python_log_level: DEBUG}
"""
UNTIL_REWRITES = (
    *("pool_manifest", "pool_clips", "caption_embeddings", "prompts", "neighbours", "rewritten_prompts"),
)
UNTIL_REPORT = (
    *("inverted_latents", "baseline_videos", "ona_videos", "spr_videos", "ona_spr_videos"),
    *("benchmark_videos", "reference_features", "scores", "tables", "figures", "gallery", "report"),
)


class Planted:
    """A project whose environment holds keys, an endpoint, and what a run of it left behind."""

    def __init__(self, folder: Path, endpoint: FakeEndpoint) -> None:
        self.folder, self.endpoint = folder, endpoint
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(HOME)
        write_world(folder)
        self.defs = build_defs(folder / "settings.toml")

    def run(self, *names: str) -> dg.ExecuteInProcessResult:
        """Materialize assets of the experiment; the run may fail."""
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            instance.add_dynamic_partitions("experiments", ["one"])
            job = self.defs.resolve_implicit_global_asset_job_def()
            chosen = {dg.AssetKey(name) for name in names}
            return job.get_subset(asset_selection=chosen).execute_in_process(
                instance=instance, partition_key="one", raise_on_error=False
            )

    def left(self) -> Iterator[tuple[str, str]]:
        """Everything that is kept, as text: files as they are, and what databases hold."""
        for file in self.folder.rglob("*"):
            if file.is_file() and "models" not in file.parts:
                yield str(file), file.read_bytes().decode("latin-1")
            if file.suffix == ".db":
                with closing(sqlite3.connect(file)) as database:
                    yield f"rows of {file}", "\n".join(database.iterdump())
            if file.suffix == ".duckdb":
                with duckdb.connect(str(file), read_only=True) as catalog:
                    for (name,) in catalog.execute("select table_name from duckdb_tables()").fetchall():
                        yield f"{name} of {file}", str(catalog.table(name).fetchall())
        captions = lancedb.connect(self.folder / "store" / "captions.lance")
        for name in captions.table_names():
            yield f"captions {name}", str(captions.open_table(name).to_arrow().to_pylist())
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            for run in instance.get_runs():
                yield f"run {run.run_id}", f"{run} {run.run_config} {run.tags}"
                for entry in instance.all_logs(run.run_id):
                    yield f"event of {run.run_id}", f"{entry} {serialize_value(entry)}"

    @property
    def reports(self) -> Path:
        """Where reports are written."""
        return self.folder / "store" / "reports"

    def expect_no_key(self) -> int:
        """Look for every key everywhere; return at how many places."""
        places = list(self.left())
        for name, key in PLANTED.items():
            found = [place for place, text in places if key in text]
            assert not found, f"{name} stands in {found}"
        return len(places)


def told_in(folder: Path) -> str:
    """What all files of a report say."""
    return "\n".join(file.read_bytes().decode("latin-1") for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def planted(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Planted]:
    really_opened = client.open_language_model
    endpoint = FakeEndpoint()
    for name, key in PLANTED.items():
        monkeypatch.setenv(name, key)
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    (tmp_path / "models").symlink_to(save_models(tmp_path_factory.mktemp("models")))
    try:
        with models_stood_in_for(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "open_language_model", really_opened)
            yield Planted(tmp_path, endpoint)
    finally:
        endpoint.close()


def test_no_key_is_kept_when_the_endpoint_refuses_it_or_sends_it_back(planted: Planted) -> None:
    planted.endpoint.replies = [REFUSED]
    failed = planted.run(*UNTIL_REWRITES, *UNTIL_REPORT)
    steps = {event.step_key for event in failed.all_events if event.is_step_failure}
    assert not failed.success and steps == {"rewritten_prompts"}
    assert planted.endpoint.keys[-1] == f"Bearer {KEY}"
    assert planted.expect_no_key() > 100

    planted.endpoint.replies = list(TELLING)
    done = planted.run("rewritten_prompts", *UNTIL_REPORT)
    assert done.success
    assert planted.expect_no_key() > 100
    assert 'data-name="one"' in (planted.reports / "index.html").read_text()
    assert TELLING[-1].text in told_in(planted.reports / "one")

    # A second run that ends half-way leaves the reports of the first one, and what it writes itself.
    prompts = planted.folder / "prompts.txt"
    prompts.write_text(prompts.read_text() + "a hat lies in a box\n")
    planted.endpoint.replies = [REFUSED]
    failed = planted.run("prompts", "neighbours", "rewritten_prompts", *UNTIL_REPORT)
    assert not failed.success
    assert planted.run("report").success
    assert planted.expect_no_key() > 100

    # What looks for keys finds them.
    with duckdb.connect(str(planted.folder / "store" / "catalog.duckdb")) as catalog:
        catalog.execute("create table told as select ? as text", [KEY])
    (planted.reports / "one" / "told.html").write_text(KEY)
    with pytest.raises(AssertionError, match=r"OPENAI_API_KEY stands in \[.*told of") as found:
        planted.expect_no_key()
    assert "told.html" in str(found.value)
