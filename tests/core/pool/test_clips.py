"""Clips are made once under their keys, read back, and what cannot be made is told."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.media.video import read_frames
from onaspr_core.pool import clips, compaction
from onaspr_core.pool.clip_catalog import clip_places
from onaspr_core.pool.clips import clip_bytes, make_clips, read_clip, read_clips, readable_clips
from onaspr_core.pool.cut import CutClip, CutJob, cut_clip
from onaspr_core.pool.manifest import build_manifest, pool_pairs
from onaspr_core.pool.media import Media
from onaspr_core.pool.source_files import hash_media
from onaspr_core.workspace import Workspace

Write = Callable[..., Path]
Open = Callable[..., Workspace]

pytestmark = pytest.mark.usefixtures("cut_in_this_process")


@pytest.fixture
def five(write_video: Write) -> dict[str, str]:
    """Five different videos and their captions."""
    for seed in range(5):
        write_video(f"{seed}.mp4", seed=seed)
    return {f"{seed}.mp4": f"caption {seed}" for seed in range(5)}


def made(workspace: Workspace) -> Workspace:
    """The workspace with its manifest built."""
    build_manifest(workspace)
    return workspace


def test_clips_are_made_once_and_found_again(open_pools: Open, five: dict[str, str]) -> None:
    workspace = made(open_pools(five))
    first, second = make_clips(workspace), make_clips(workspace)
    assert (first.total, first.computed, first.reused, first.failures) == (5, 5, 0, ())
    assert (second.total, second.computed, second.reused, second.seconds) == (5, 0, 5, 0.0)
    assert second.version == first.version
    assert first.preview is not None and first.preview.png.startswith(b"\x89PNG")


def test_a_clip_is_read_back_as_frames_and_as_bytes(
    open_pools: Open, five: dict[str, str], tmp_path: Path
) -> None:
    workspace = made(open_pools(five))
    make_clips(workspace)
    pair = pool_pairs(workspace, "small")[0]
    assert pair.clip_key is not None
    source = read_frames(str(tmp_path / "videos" / pair.id))[::2][:3]
    assert np.abs(read_clip(workspace, pair.clip_key).astype(int) - source[:, :, 8:40]).max() <= 4
    assert b"ftyp" in clip_bytes(workspace, pair.clip_key)[:16]
    keys = [pair.clip_key or "" for pair in pool_pairs(workspace, "small")] * 2
    for key, frames in zip(keys, read_clips(workspace, keys), strict=True):
        assert np.array_equal(frames, read_clip(workspace, key))


def test_a_clip_of_two_pools_is_cut_once(open_pools: Open, five: dict[str, str]) -> None:
    workspace = made(open_pools(five, few=3, all=None))
    outcome = make_clips(workspace)
    assert outcome.total == outcome.computed == 5
    assert [len(pool_pairs(workspace, name)) for name in ("few", "all")] == [3, 5]


def test_a_broken_file_is_a_failure_that_is_not_tried_again_while_it_stays(
    open_pools: Open, five: dict[str, str], tmp_path: Path, write_video: Write
) -> None:
    broken = tmp_path / "videos/2.mp4"
    broken.write_bytes(broken.read_bytes()[:-600])
    workspace = made(open_pools(five))
    first, second = make_clips(workspace), make_clips(workspace)
    assert (first.computed, second.computed, second.reused) == (4, 0, 4)
    assert [failure.item for failure in first.failures] == ["small/2.mp4"]
    assert second.failures == first.failures
    assert second.version == first.version
    assert second.seconds == 0.0
    assert first.facts["failed_share_by_pool"] == {"small": 0.2}
    assert "2.mp4" not in {pair.id for pair in pool_pairs(workspace, "small")}
    write_video("2.mp4", seed=2)
    mended = make_clips(made(open_pools(five)))
    assert (mended.computed, mended.reused, mended.failures) == (1, 4, ())


def test_a_file_that_changes_under_the_run_is_a_failure_only_this_time(
    open_pools: Open, five: dict[str, str], write_video: Write
) -> None:
    workspace = made(open_pools(five))
    write_video("3.mp4", seed=33, frames=5)
    (failure,) = make_clips(workspace).failures
    assert "materialize it again" in failure.reason
    assert make_clips(made(workspace)).failures == ()


def test_new_bytes_are_never_cut_under_the_key_of_the_old_ones(
    open_pools: Open, five: dict[str, str], write_video: Write
) -> None:
    workspace = made(open_pools(five))
    changed = write_video("3.mp4", seed=33, frames=5)
    # As a manifest does that is killed before its rows are written.
    hash_media(workspace, [Media(str(changed))])
    (failure,) = make_clips(workspace).failures
    assert "materialize it again" in failure.reason
    assert make_clips(made(workspace)).failures == ()


def test_going_back_to_earlier_clip_settings_finds_the_clips(open_pools: Open, five: dict[str, str]) -> None:
    first = make_clips(made(open_pools(five)))
    smaller = made(open_pools(five)).settings.pools["small"].clip.model_copy(update={"resolution": 16})
    assert make_clips(made(open_pools(five, clip=smaller))).computed == 5
    back = make_clips(made(open_pools(five)))
    assert (back.computed, back.version) == (0, first.version)


def test_clips_of_a_shard_that_was_deleted_are_made_again(
    open_pools: Open, five: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "CLIPS_PER_FLUSH", 2)
    workspace = made(open_pools(five))
    make_clips(workspace)
    shards = sorted(Path(workspace.shards_path).glob("*.tar"))
    assert len(shards) == 3
    shards[0].unlink()
    again = make_clips(workspace)
    assert again.computed + again.reused == 5
    assert 1 <= again.computed <= 2


def test_clips_that_cannot_be_read_are_told_between_those_that_can(
    open_pools: Open, five: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "CLIPS_PER_FLUSH", 1)
    workspace = made(open_pools(five))
    make_clips(workspace)
    keys = [pair.clip_key or "" for pair in pool_pairs(workspace, "small")]
    lost = clip_places(workspace, keys)[keys[1]].shard
    (Path(workspace.shards_path) / lost).unlink()
    first, gone, unknown, last = readable_clips(workspace, [keys[0], keys[1], "0" * 40, keys[2]])
    assert np.array_equal(first, read_clip(workspace, keys[0]))  # type: ignore[arg-type]
    assert np.array_equal(last, read_clip(workspace, keys[2]))  # type: ignore[arg-type]
    assert isinstance(gone, UserError) and lost in str(gone)
    assert isinstance(unknown, UserError) and "materialize pool_clips" in str(unknown)
    with pytest.raises(UserError, match="materialize pool_clips"):
        list(read_clips(workspace, keys))
    again = make_clips(workspace)
    assert (again.computed, again.repaired) == (1, 1)
    assert len(list(read_clips(workspace, keys))) == len(keys)


def test_a_clip_that_does_not_exist_says_what_to_do(open_pools: Open) -> None:
    with pytest.raises(UserError, match="materialize pool_clips"):
        read_clip(open_pools({}), "0" * 40)


def test_clips_need_a_manifest(open_pools: Open) -> None:
    with pytest.raises(UserError, match="materialize pool_manifest"):
        make_clips(open_pools({}))


def test_reasons_are_counted_by_what_is_wrong_and_told_with_their_details(
    open_pools: Open, five: dict[str, str], tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    for name, kept in (("0.mp4", 600), ("1.mp4", 700)):
        (videos / name).write_bytes((videos / name).read_bytes()[:-kept])
    (videos / "2.mp4").write_bytes(b"no video " * 100)
    workspace = made(open_pools(five))
    (videos / "3.mp4").unlink()
    outcome = make_clips(workspace)
    kinds = outcome.facts["failures_by_reason"]
    assert sum(kinds.values()) == 4
    assert kinds["unreadable video"] + kinds.get("truncated", 0) == 3
    assert kinds["the file cannot be opened"] == 1
    assert any("Invalid data" in failure.reason for failure in outcome.failures)


def test_few_kinds_of_reasons_are_shown_whatever_there_are() -> None:
    kinds = clips._by_kind(f"kind {i % 50}: detail {i}" for i in range(1000))
    assert len(kinds) == 21
    assert kinds["kind 0"] == 20
    assert kinds["other reasons"] == 600


def test_a_file_that_costs_processes_is_tried_three_times_and_then_left_alone(
    open_pools: Open, five: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = made(open_pools(five))
    tried: list[str] = []

    def crash_on_two(jobs: Sequence[CutJob], processes: int) -> Iterator[CutClip]:
        for job in jobs:
            tried.append(Path(job.media.path).name)
            yield CutClip(job.key, reason="crashed", suspect=True) if "2.mp4" in tried[-1] else cut_clip(job)

    monkeypatch.setattr(clips, "cut_all", crash_on_two)
    for run in range(5):
        outcome = make_clips(workspace)
        assert [(one.item, one.reason) for one in outcome.failures] == [("small/2.mp4", "crashed")]
        assert tried.count("2.mp4") == min(run + 1, 3)
    assert len(tried) == 4 + 3


def test_parts_of_one_file_are_cut_in_their_order(
    open_pools: Open, five: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def watched(jobs: Sequence[CutJob], processes: int) -> Iterator[CutClip]:
        for job in jobs:
            order.append(job.media.path)
            yield cut_clip(job)

    monkeypatch.setattr(clips, "cut_all", watched)
    make_clips(made(open_pools(five)))
    assert order == sorted(order)


def test_many_small_shards_become_one(
    open_pools: Open, five: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "CLIPS_PER_FLUSH", 1)
    monkeypatch.setattr(compaction, "SMALL_SHARDS", 5)
    workspace = made(open_pools(five))
    outcome = make_clips(workspace)
    assert (outcome.facts["shards"], outcome.facts["shards_deleted"]) == (1, 5)
    again = make_clips(workspace)
    assert (again.computed, again.reused, again.version) == (0, 5, outcome.version)
    assert [
        len(frames)
        for frames in read_clips(workspace, [p.clip_key or "" for p in pool_pairs(workspace, "small")])
    ] == [3] * 5
