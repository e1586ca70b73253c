import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool import source_files
from onaspr_core.pool.manifest import build_manifest, listed_pairs, pool_pairs, pool_rank
from onaspr_core.workspace import Workspace

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
    digest = hashlib.sha256(b"7\nclip-42").hexdigest()
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
    monkeypatch.setattr(source_files, "file_sha256", None)
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
    workspace = open_pools({**three, "a.mp4": "", "gone.mp4": "a caption"})
    outcome = build_manifest(workspace)
    assert {failure.item: failure.reason.split("/")[0] for failure in outcome.failures} == {
        "small/a.mp4": "the caption is empty",
        "small/gone.mp4": "there is no file ",
    }
    assert (outcome.total, outcome.computed) == (4, 2)
    unusable = [pair.id for pair in listed_pairs(workspace, "small") if pair.clip_key is None]
    assert sorted(unusable) == ["a.mp4", "gone.mp4"]


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


def test_asking_before_anything_is_made_says_what_to_materialize(open_pools: Open) -> None:
    with pytest.raises(UserError, match="pool_manifest"):
        pool_pairs(open_pools({}), "small")
