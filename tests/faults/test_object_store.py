"""A whole small project on S3: equal to one on a disk, also when the process that makes it is killed."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.artifacts import RECORD_SUFFIX
from onaspr_core.errors import StoreError
from onaspr_core.folders import Folder
from onaspr_core.pool.shards import list_shards
from onaspr_core.reports.report import write_report
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import FEATURES, INVERTED_LATENT, SCORE, VIDEO
from onaspr_core.verification import verify
from onaspr_core.workspace import Workspace
from tests.faults.child import LOG, STAGES, materialize, start
from tests.faults.conftest import Undisturbed
from tests.faults.kept import kept
from tests.faults.test_killed import SEED, assert_little_was_made_twice
from tests.object_store import ObjectStore
from tests.small_project import models_stood_in_for

KILLS = int(os.environ.get("ONASPR_KILLS_ON_S3", "2"))

BY_NAME = dict(STAGES)

pytestmark = pytest.mark.timeout(300 + 60 * KILLS)


def materialize_there(environment: Mapping[str, str], folder: Path) -> None:
    """As `materialize`, in a process that is forked from a server with another environment."""
    os.environ.update(environment)
    materialize(folder)


def killed(process: BaseProcess, log: Path, lines: float, seconds: float) -> bool:
    """Kill a process some time after it logged so many lines, and say whether it had not ended before."""
    before = lines_of(log)
    while process.is_alive() and lines_of(log) - before < lines:
        time.sleep(0.01)
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9)
    return process.exitcode != 0


def lines_of(log: Path) -> int:
    return log.read_text().count("\n") if log.exists() else 0


def assert_all_is_whole(workspace: Workspace) -> None:
    faults: list[str] = []
    for tally in verify(workspace, tell=faults.append):
        assert not tally.damaged and not tally.missing, faults


@pytest.fixture(scope="module")
def folder(new_project: Callable[[str], Path], undisturbed: Undisturbed, object_store: ObjectStore) -> Path:
    """A project whose store is on S3, made by processes of which some were killed."""
    folder = new_project("on-s3")
    settings = folder / "settings.toml"
    moments, kills = random.Random(SEED), 0
    with object_store.reached():
        root = f'root = "{object_store.new_bucket()}/one/store"'
        settings.write_text(settings.read_text().replace('root = "store"', root))
        while killed(
            start(materialize_there, object_store.environment, folder),
            folder / LOG,
            moments.randint(1, undisturbed.begun // 2) if kills < KILLS else float("inf"),
            moments.uniform(0, 0.1),
        ):
            kills += 1
            assert_all_is_whole(Workspace(load_settings(settings)))
    assert kills
    return folder


@pytest.fixture
def workspace(folder: Path, object_store: ObjectStore) -> Iterator[Workspace]:
    """The project's, while this process finds the server."""
    with object_store.reached():
        yield Workspace(load_settings(folder / "settings.toml"))


def test_a_project_on_s3_is_that_on_a_disk_though_it_was_killed(
    folder: Path, undisturbed: Undisturbed, workspace: Workspace
) -> None:
    assert_all_is_whole(workspace)
    assert kept(folder) == undisturbed.kept
    assert_little_was_made_twice(folder, undisturbed)
    local = {path.name for path in (folder / "data" / "local").iterdir()}
    assert local == {"catalog.duckdb", "locks"} and not (folder / "store").exists()
    assert_reports_are_alike(workspace, folder.parent / "undisturbed")


def test_what_there_is_costs_listings_and_no_request_for_each_item(
    folder: Path, workspace: Workspace, object_store: ObjectStore
) -> None:
    clips, videos = list_shards(workspace.shards_path), workspace.store.keys(VIDEO)
    for name, stage in STAGES:
        with object_store.counted() as asked, models_stood_in_for():
            outcome = stage(workspace, workspace.settings.experiment("one"))
        assert outcome.computed == 0 and not [line for line in asked if line.startswith("PUT")], (name, asked)
        print(name, len(asked))
    assert (list_shards(workspace.shards_path), workspace.store.keys(VIDEO)) == (clips, videos)


@pytest.mark.parametrize(
    ("stages", "lost", "away"),
    [
        (["inverted_latents"], INVERTED_LATENT, "/shards/"),
        (["ona_videos"], VIDEO, f"/{INVERTED_LATENT}/"),
        (["scores", "reference_features"], FEATURES, f"/{VIDEO}/"),
        (["scores"], SCORE, f"/{FEATURES}/"),
        (["gallery"], "", f"/{VIDEO}/"),
    ],
)
def test_a_store_that_goes_away_ends_a_stage_and_condemns_no_item(
    folder: Path, workspace: Workspace, undisturbed: Undisturbed, stages: list[str], lost: str, away: str
) -> None:
    store, experiment = workspace.store, workspace.settings.experiment("one")
    for key in store.keys(lost) if lost else ():
        if store.record(lost, key).get("variant") in (None, "ona"):
            store.delete(lost, key)
    if not lost:
        (Folder(workspace.reports_path) / "one").delete(".gallery.json")
    read = Folder.read

    def refused(place: Folder, name: str, *span: Any) -> bytes:
        if away in place.path(name) and not name.endswith(RECORD_SUFFIX):
            raise StoreError("the store is away")
        return read(place, name, *span)

    with models_stood_in_for():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Folder, "read", refused)
            with pytest.raises(StoreError):
                BY_NAME[stages[0]](workspace, experiment)
        assert not store.damaged
        for stage in stages:
            assert not BY_NAME[stage](workspace, experiment).failures
    assert kept(folder) == undisturbed.kept


def assert_reports_are_alike(workspace: Workspace, undisturbed: Path) -> None:
    """The gallery holds the same files as one on a disk, and the report finds it."""
    there = Folder(workspace.reports_path) / "one"
    here = Folder(f"{undisturbed}/store/reports/one")
    assert {inside: sorted(there.names(inside)) for inside in ("", "videos", "clips")} == {
        inside: sorted(here.names(inside)) for inside in ("", "videos", "clips")
    }
    for inside in ("videos", "clips"):
        for name in here.names(inside):
            assert there.read(f"{inside}/{name}") == here.read(f"{inside}/{name}")
    outcome = write_report(workspace, [])
    assert outcome.facts == {"report": f"{workspace.reports_path}/index.html", "experiments": 1, "studies": 0}
