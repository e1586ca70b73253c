"""A new user's first quarter of an hour, through the ordinary command line, on a small cut of the world."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import SETTINGS, Project, make_project
from tests.report_files import clips_of, gallery_of, made_of


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("end-to-end") / "project")
    for finished in (made.observe(), made.materialize()):
        assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    yield made


@pytest.mark.timeout(600)
def test_the_first_run_makes_every_asset_and_the_report_shows_it(project: Project) -> None:
    shown = project.metadata()
    assert len(shown) == 18
    for name, metadata in shown.items():
        assert metadata["items_failed"] == 0, (name, metadata)
        assert metadata["items_total"] > 0, name  # type: ignore[operator]
        assert metadata["items_computed"] + metadata["items_reused"] == metadata["items_total"], name  # type: ignore[operator]
    for variant, (eta, gamma) in {
        "baseline": (None, None),
        "ona": (0.5, None),
        "spr": (None, 0.5),
        "ona_spr": (0.5, 0.5),
    }.items():
        metadata = shown[f"{variant}_videos"]
        assert (metadata.get("eta"), metadata.get("gamma")) == (eta, gamma)
        assert metadata["items_total"] == 4
        assert metadata["backbone"]
        assert metadata["device"]
        assert "picture" in metadata
    assert "table" in shown["rewritten_prompts"]
    table = project.run("onaspr_core.reports", "miniature", "--settings", str(project.settings))
    assert table.returncode == 0, table.stderr
    for word in ("baseline", "ona", "spr", "ona_spr", "FID", "CLIP-FID", "CLIPSIM", "FVD", "IS"):
        assert word.lower() in table.stdout.lower()
    page = next(Path(word) for word in table.stdout.split() if word.endswith("index.html"))
    gallery = gallery_of(page.parent)
    prompts = [json.loads(line) for line in (project.folder / "world/prompts.jsonl").read_text().splitlines()]
    assert [one["text"] for one in gallery["prompts"]] == [prompt["prompt"] for prompt in prompts[:4]]
    addresses = [*made_of(gallery), *clips_of(gallery)]
    assert len(addresses) == 4 * (4 + 1), "four variants and the neighbour of each prompt"
    files = {path.relative_to(page.parent).as_posix() for path in page.parent.rglob("*.mp4")}
    assert files == set(addresses), "each video is there, and no other"


@pytest.mark.timeout(600)
def test_the_second_run_computes_nothing_and_loads_no_model(project: Project) -> None:
    finished = project.materialize()
    assert finished.returncode == 0, finished.stderr[-4000:]
    shown = project.metadata()
    assert {name: metadata["items_computed"] for name, metadata in shown.items()} == dict.fromkeys(shown, 0)
    assert {metadata["models_loaded"] for metadata in shown.values()} == {"none"}
    assert (finished.stdout + finished.stderr).count("0 computed") == len(shown)


@pytest.mark.timeout(600)
def test_another_eta_makes_the_videos_of_two_variants_again_and_nothing_before_them(project: Project) -> None:
    project.settings.write_text(SETTINGS.replace("eta = 0.5", "eta = 1.0"))
    for finished in (project.observe(), project.materialize()):
        assert finished.returncode == 0, finished.stderr[-4000:]
    shown = project.metadata()
    computed = {name: metadata["items_computed"] for name, metadata in shown.items()}
    assert computed["ona_videos"] == 4
    # A prompt that kept its own words has one video with and without SPR.
    assert computed["ona_spr_videos"] == 4 - shown["ona_spr_videos"]["prompts_without_rewrite"] > 0  # type: ignore[operator]
    untouched = ("pool_clips", "caption_embeddings", "neighbours", "inverted_latents", "rewritten_prompts")
    for name in (*untouched, "baseline_videos", "spr_videos", "reference_features"):
        assert computed[name] == 0, name
    assert computed["scores"] > 0  # type: ignore[operator]


@pytest.mark.timeout(600)
def test_a_trial_shows_its_videos_and_leaves_the_experiments_own_alone(project: Project) -> None:
    before = project.latest()[("ona_videos", "miniature")]
    config = {"loggers": {"console": {}}, "ops": {"ona_videos": {"config": {"eta": 0.9}}}}
    done = project.run(
        *("dagster", "asset", "materialize", "-f", "definitions.py", "--select", "ona_videos"),
        *("--partition", "miniature", "--config-json", json.dumps(config)),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    folder = project.folder / "store/reports/miniature/trials/ona eta=0.9"
    assert f"trial eta=0.9: {folder}" in done.stdout + done.stderr
    assert len(list(folder.glob("*.mp4"))) == 4
    assert project.latest()[("ona_videos", "miniature")] == before


def test_an_experiment_that_does_not_exist_is_refused_by_name(project: Project) -> None:
    finished = project.run(
        *("dagster", "asset", "materialize", "-f", "definitions.py"),
        *("--select", "prompts", "--partition", "nothing-of-that-name"),
    )
    assert finished.returncode != 0
    assert "nothing-of-that-name" in finished.stdout + finished.stderr


def test_settings_with_mistakes_end_the_run_with_all_of_them_and_write_nothing(project: Project) -> None:
    before = sorted(str(path) for path in (project.folder / "store").rglob("*"))
    project.settings.write_text(
        SETTINGS.replace("eta = 0.5", "eta = -1").replace("gamma = 0.5", "gamma = 1.5")
    )
    for finished in (project.observe(), project.materialize("prompts")):
        told = finished.stdout + finished.stderr
        assert finished.returncode != 0
        assert "experiments.miniature.eta" in told
        assert "experiments.miniature.gamma" in told
    assert sorted(str(path) for path in (project.folder / "store").rglob("*")) == before
    project.settings.write_text(SETTINGS)
