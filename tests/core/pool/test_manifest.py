"""A pool's manifest: which pairs it lists, what a second run looks at, and what is withdrawn."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onaspr_core import code_versions
from onaspr_core.errors import UserError
from onaspr_core.pool import choice, digests, manifest
from onaspr_core.pool.manifest import build_manifest, clip_key, listed_pairs, pool_pairs, pool_rank
from onaspr_core.pool.manifest_table import withdrawn_pairs
from onaspr_core.pool.media import Media
from onaspr_core.pool.withdrawal import withdrawn_clip_keys
from onaspr_core.settings import ClipSettings
from onaspr_core.workspace import Workspace
from tests.core.pool.rows import statuses

Write = Callable[..., Path]
Open = Callable[..., Workspace]


@pytest.fixture
def three(write_video: Write) -> dict[str, str]:
    """Three different videos and their captions."""
    names = ["a.mp4", "b.mp4", "c.mp4"]
    for seed, name in enumerate(names):
        write_video(name, seed=seed)
    return {name: f"caption of {name}" for name in names}


def test_a_rank_is_the_top_of_a_hash_of_seed_and_id() -> None:
    digest = hashlib.sha1(b"7\nclip-42", usedforsecurity=False).hexdigest()
    assert pool_rank(7, "clip-42") == int(digest[:16], 16) // 2
    assert pool_rank(8, "clip-42") != pool_rank(7, "clip-42")


def test_pools_of_different_size_are_nested_and_hold_the_smallest_ranks(open_pools: Open) -> None:
    captions = {f"{i}.mp4": f"caption {i}" for i in range(200)}
    workspace = open_pools(captions, ten=10, fifty=50, everything=None)
    build_manifest(workspace)
    pools = {name: [pair.id for pair in listed_pairs(workspace, name)] for name in workspace.settings.pools}
    by_rank = sorted(captions, key=lambda id_: pool_rank(1, id_))
    assert pools == {"ten": by_rank[:10], "fifty": by_rank[:50], "everything": by_rank}


def test_enlarging_a_pool_computes_only_the_added_rows(open_pools: Open, three: dict[str, str]) -> None:
    build_manifest(open_pools(three, small=2))
    outcome = build_manifest(open_pools(three, small=3))
    assert (outcome.total, outcome.computed, outcome.reused) == (3, 1, 2)


def test_a_second_run_reads_no_file_and_keeps_the_version(
    open_pools: Open, three: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_manifest(open_pools(three))
    monkeypatch.setattr(digests, "file_sha256", None)
    second = build_manifest(open_pools(three))
    assert (first.computed, second.computed, second.reused) == (3, 0, 3)
    assert second.version == first.version


def test_a_file_written_again_with_equal_bytes_changes_nothing(
    open_pools: Open, three: dict[str, str], tmp_path: Path
) -> None:
    first = build_manifest(open_pools(three))
    os.utime(tmp_path / "videos/a.mp4", ns=(1, 1))
    assert build_manifest(open_pools(three)).version == first.version


def test_a_new_caption_a_new_file_and_a_removed_row_are_told_apart(
    open_pools: Open, three: dict[str, str], write_video: Write
) -> None:
    before = build_manifest(open_pools(three))
    keys = {pair.id: pair.clip_key for pair in listed_pairs(open_pools(three), "small")}
    write_video("b.mp4", seed=9)
    workspace = open_pools({"a.mp4": "another caption", "b.mp4": three["b.mp4"]})
    after = build_manifest(workspace)
    assert (after.total, after.computed, after.reused) == (2, 2, 0)
    counts = {name: after.facts[name] for name in ("pairs_new", "pairs_changed", "pairs_vanished")}
    assert counts == {"pairs_new": 0, "pairs_changed": 2, "pairs_vanished": 1}
    assert after.version != before.version
    pairs = {pair.id: pair for pair in listed_pairs(workspace, "small")}
    assert pairs["a.mp4"].caption == "another caption"
    assert pairs["a.mp4"].clip_key == keys["a.mp4"]
    assert pairs["b.mp4"].clip_key != keys["b.mp4"]


def test_missing_files_and_empty_captions_are_failures_and_the_rest_is_kept(
    open_pools: Open, three: dict[str, str]
) -> None:
    workspace = open_pools({**three, "a.mp4": "", "gone.mp4": "a caption", "folder.mp4": "another"})
    (workspace.settings.base / "videos/folder.mp4").mkdir()
    outcome = build_manifest(workspace)
    assert {failure.item: failure.reason.split("/")[0] for failure in outcome.failures} == {
        "small/a.mp4": "the caption is empty",
        "small/gone.mp4": "there is no file ",
        "small/folder.mp4": "the file cannot be read: Is a directory",
    }
    assert (outcome.total, outcome.computed) == (5, 2)
    unusable = [pair.id for pair in listed_pairs(workspace, "small") if pair.clip_key is None]
    assert sorted(unusable) == ["a.mp4", "folder.mp4", "gone.mp4"]


def test_of_rows_with_one_id_the_first_is_kept_and_the_others_are_counted(
    open_pools: Open, three: dict[str, str], tmp_path: Path
) -> None:
    workspace = open_pools(three)
    with open(tmp_path / "captions.csv", "a") as table:
        table.write("\na.mp4,a second caption\n,nameless\n")
    outcome = build_manifest(workspace)
    assert outcome.facts["duplicate_ids"] == 1
    assert outcome.facts["rows_without_id"] == 1
    assert {pair.caption for pair in listed_pairs(workspace, "small")} == set(three.values())


def test_a_pool_gone_from_the_settings_is_gone_from_the_catalog(
    open_pools: Open, three: dict[str, str]
) -> None:
    build_manifest(open_pools(three, one=None, two=None))
    workspace = open_pools(three, one=None)
    build_manifest(workspace)
    assert listed_pairs(workspace, "two") == []


def test_the_clip_key_follows_content_and_clip_settings_and_not_the_path(
    open_pools: Open, write_video: Write
) -> None:
    write_video("a.mp4", seed=3)
    write_video("copy.mp4", seed=3)
    workspace = open_pools({"a.mp4": "one", "copy.mp4": "two"})
    build_manifest(workspace)
    first, second = listed_pairs(workspace, "small")
    assert first.clip_key == second.clip_key
    clip = workspace.settings.pools["small"].clip.model_copy(update={"crf": 21})
    workspace = open_pools({"a.mp4": "one", "copy.mp4": "two"}, clip=clip)
    build_manifest(workspace)
    assert listed_pairs(workspace, "small")[0].clip_key != first.clip_key


def test_a_second_run_scans_no_source_that_is_as_it_was(
    open_pools: Open, three: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = {**three, "d.mp4": "", "gone.mp4": "a caption"}
    workspace = open_pools(three)
    first = build_manifest(workspace)
    pairs = listed_pairs(workspace, "small")
    scans: list[str] = []

    def counted(*values: Any) -> Any:
        scans.append(values[-1])
        return choice.choose(*values)

    monkeypatch.setattr(manifest, "choose", counted)
    with monkeypatch.context() as raised:
        raised.setattr(code_versions, "MANIFEST", code_versions.MANIFEST + 1)
        build_manifest(workspace)
    assert len(scans) == 1, "other code reads the source anew"
    build_manifest(workspace)
    scans.clear()
    second = build_manifest(workspace)
    assert scans == []
    assert (second.version, second.facts["source_rows"]) == (first.version, 5)
    assert second.failures == first.failures
    assert listed_pairs(workspace, "small") == pairs
    os.utime(tmp_path / "captions.csv", ns=(1, 1))
    assert build_manifest(workspace).version == first.version
    assert len(scans) == 1


def test_a_file_that_comes_goes_or_changes_is_seen_without_a_scan(
    open_pools: Open,
    three: dict[str, str],
    tmp_path: Path,
    write_video: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = open_pools({**three, "gone.mp4": "a caption"})
    build_manifest(workspace)
    monkeypatch.setattr(manifest, "choose", None)
    write_video("gone.mp4", seed=9)
    write_video("a.mp4").unlink()
    write_video("b.mp4", seed=8)
    outcome = build_manifest(workspace)
    assert (outcome.computed, outcome.reused, len(outcome.failures)) == (2, 1, 1)
    assert {id_: status for id_, (status, _) in statuses(workspace).items()} == {
        "a.mp4": "missing",
        "b.mp4": "present",
        "c.mp4": "present",
        "gone.mp4": "present",
    }


def test_a_withdrawn_pair_is_gone_and_its_clip_is_remembered(
    open_pools: Open, three: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "takedown.txt").write_text("")
    workspace = open_pools(three, told={"takedown": "takedown.txt"})
    before = build_manifest(workspace)
    keys = {pair.id: pair.clip_key for pair in listed_pairs(workspace, "small")}
    (tmp_path / "takedown.txt").write_text("\ufeffb.mp4\r\n\r\nunknown\n", encoding="utf-8")
    after = build_manifest(workspace)
    assert [pair.id for pair in listed_pairs(workspace, "small")] == [i for i in keys if i != "b.mp4"]
    assert (after.facts["withdrawn"], after.facts["pairs_vanished"]) == (1, 1)
    assert after.version != before.version
    assert withdrawn_pairs(workspace) == [("small", "b.mp4", keys["b.mp4"]), ("small", "unknown", None)]
    assert withdrawn_clip_keys(workspace) == {keys["b.mp4"]}
    again = build_manifest(workspace)
    assert (again.computed, again.version) == (0, after.version)
    (tmp_path / "takedown.txt").write_text("")
    assert build_manifest(workspace).version == before.version
    assert withdrawn_clip_keys(workspace) == frozenset()


def test_a_clip_that_another_pair_has_too_is_not_withdrawn(
    open_pools: Open, write_video: Write, tmp_path: Path
) -> None:
    write_video("a.mp4", seed=3)
    write_video("copy.mp4", seed=3)
    (tmp_path / "takedown.txt").write_text("")
    workspace = open_pools({"a.mp4": "one", "copy.mp4": "two"}, told={"takedown": "takedown.txt"})
    build_manifest(workspace)
    (tmp_path / "takedown.txt").write_text("a.mp4\n")
    build_manifest(workspace)
    assert [pair.id for pair in listed_pairs(workspace, "small")] == ["copy.mp4"]
    assert withdrawn_clip_keys(workspace) == frozenset()


def test_a_takedown_list_that_cannot_be_read_stops_the_run(open_pools: Open, three: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"takedown\.txt: the takedown list cannot be read"):
        build_manifest(open_pools(three, told={"takedown": "takedown.txt"}))


def test_spans_of_one_video_are_clips_of_their_own() -> None:
    spans = [(None, None), (1.0, 2.0), (1.0, 3.0), (None, 2.0), (2.0, None)]
    assert len({clip_key("0" * 64, ClipSettings(), Media("a.mp4", "", *span)) for span in spans}) == 5
    whole = clip_key("0" * 64, ClipSettings(), Media("a.mp4"))
    assert whole == clip_key("0" * 64, ClipSettings(), Media("set.tar", "another/name.mp4"))


def test_a_catalog_of_an_earlier_form_is_made_anew(open_pools: Open, three: dict[str, str]) -> None:
    workspace = open_pools(three)
    with workspace.catalog.write() as connection:
        connection.execute("create table manifest (pool text, pair_id text, source text)")
    assert build_manifest(workspace).computed == 3
    assert len(listed_pairs(workspace, "small")) == 3


def test_asking_before_anything_is_made_says_what_to_materialize(open_pools: Open) -> None:
    with pytest.raises(UserError, match="pool_manifest"):
        pool_pairs(open_pools({}), "small")
