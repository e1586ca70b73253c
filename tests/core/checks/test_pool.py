"""A row for every clip, and how many videos are of no use."""

from typing import Any

import pyarrow as pa
import pytest

from onaspr_core.checks.finding import Finding
from onaspr_core.checks.pool import every_clip_has_one_row, few_videos_are_unusable
from onaspr_core.errors import UserError
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.rows import wanted_rows
from onaspr_core.retrieval.table import ROW, CaptionTable
from onaspr_core.workspace import Workspace
from tests.core.checks.conftest import Project
from tests.small_project import CAPTIONS, models_stood_in_for, write_captions


def the_row(workspace: Workspace, name: str) -> tuple[CaptionTable, dict[str, Any]]:
    """The table of the pool, and the row of a clip in it."""
    fingerprint = embedder(workspace).fingerprint
    rows = wanted_rows(workspace, fingerprint, "clips").to_pylist()
    table = CaptionTable(workspace.lance_path, fingerprint, "clips")
    return table, next(row for row in rows if row["pairs"][0]["id"] == f"{name}.mp4")


def put(table: CaptionTable, row: dict[str, Any], like: dict[str, Any]) -> None:
    table.upsert(pa.Table.from_pylist([row], ROW), table.vectors([like["key"]])[like["key"]][None])


def test_the_index_holds_a_row_for_each_clip(project: Project) -> None:
    workspace = project.open()
    found = every_clip_has_one_row(workspace)
    assert found.passed
    assert (found.facts["clips"], found.facts["rows"]) == (6, 6)
    assert workspace.models.loaded == ()


def bad(found: Finding) -> list[tuple[str, ...]]:
    assert not found.passed
    assert "materialize caption_embeddings" in found.summary
    return [tuple(row) for row in found.rows]


def test_a_row_too_few_or_too_many_or_of_another_caption_is_named(project: Project) -> None:
    workspace = project.open()
    table, cat = the_row(workspace, "cat")
    put(table, {**cat, "caption": "a cat"}, cat)
    another = [("clips/cat.mp4", "its row has another caption, clip or rank")]
    assert bad(every_clip_has_one_row(workspace)) == another
    put(table, {**cat, "pairs": [{**cat["pairs"][0], "clip": "of another film"}]}, cat)
    assert bad(every_clip_has_one_row(workspace)) == another
    table.delete([cat["key"]])
    assert bad(every_clip_has_one_row(workspace)) == [("clips/cat.mp4", "0 rows")]
    _, dog = the_row(workspace, "dog")
    put(table, cat, dog)
    put(table, {**dog, "key": "x", "pairs": [{"rank": 1, "id": "bus.mp4", "clip": "c"}]}, dog)
    assert bad(every_clip_has_one_row(workspace)) == [("clips/bus.mp4", "a row without a clip")]


def test_a_row_that_is_there_twice_is_named(project: Project) -> None:
    workspace = project.open()
    table, sea = the_row(workspace, "sea")
    table.lance.add(table.lance.search().where(f"key = '{sea['key']}'").to_arrow())
    assert bad(every_clip_has_one_row(workspace)) == [("clips/sea.mp4", "2 rows")]


def test_a_pool_that_was_never_listed_is_told(project: Project) -> None:
    project.open().catalog.path.unlink()
    with pytest.raises(UserError, match="materialize pool_manifest"):
        every_clip_has_one_row(project.open())


def test_videos_of_no_use_are_counted_by_reason_and_few_are_fine(project: Project) -> None:
    assert few_videos_are_unusable(project.open()).passed
    (project.folder / "videos" / "torn.mp4").write_bytes(b"no video")
    write_captions(project.folder, {**CAPTIONS, "torn": "torn", "gone": "gone", "lost": "lost", "mute": ""})
    (project.folder / "videos" / "mute.mp4").write_bytes((project.folder / "videos" / "cat.mp4").read_bytes())
    with models_stood_in_for():
        build_manifest(project.open())
        make_clips(project.open())
    found = few_videos_are_unusable(project.open())
    assert not found.passed
    assert found.facts["unusable_share_by_pool"] == {"clips": 0.4}
    assert "40 % of the videos of pool clips" in found.summary
    assert found.rows[0] == ("clips", "there is no such file", "2")
    assert [(pool, count) for pool, _, count in found.rows[1:]] == [("clips", "1")] * 2
    assert few_videos_are_unusable(project.open(unreadable_share=0.4)).passed
