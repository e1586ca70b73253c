import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import webdataset

from onaspr_core.errors import UserError
from onaspr_core.media.video import encode_mp4
from onaspr_core.pool import clips, compaction
from onaspr_core.pool.clip_catalog import clip_places, clip_states, enter_clips, move_clips
from onaspr_core.pool.clips import clip_bytes, read_clips
from onaspr_core.pool.compaction import compact
from onaspr_core.pool.shards import Clip, list_shards, write_shard
from onaspr_core.workspace import Workspace
from tests.core.media.odd_files import texture
from tests.processes import environment_now

KILLED = """
import os, signal, sys
from pathlib import Path
from onaspr_core.pool import compaction
from onaspr_core.settings import Settings
from onaspr_core.workspace import Workspace

step, base = sys.argv[1], Path(sys.argv[2])
really = getattr(compaction, step)

def killed(*what):
    if sys.argv[3] == "after":
        really(*what)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(compaction, step, killed)
compaction.SMALL_SHARDS = 2
compaction.compact(Workspace(Settings(base=base, pools={}, backbones={}, experiments={})), sys.argv[4:])
"""


def clip(key: str, size: int = 100) -> Clip:
    return Clip(key, key[0].encode() * size, f"caption of {key}", {"pair": f"pool/{key}"})


def store(workspace: Workspace, *shards: Iterable[Clip]) -> None:
    for shard in shards:
        enter_clips(workspace, write_shard(workspace.shards_path, list(shard)), {})


def held(workspace: Workspace, keys: Iterable[str]) -> bool:
    """Every clip is what it was, found in one range of its shard."""
    return all(clip_bytes(workspace, key) == key[0].encode() * 100 for key in keys)


@pytest.fixture
def small(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Six clips in three shards that are small, where two are enough to merge."""
    monkeypatch.setattr(compaction, "SMALL_SHARDS", 2)
    store(workspace, [clip("a1"), clip("b1")], [clip("c1"), clip("d1")], [clip("e1"), clip("f1")])
    return workspace


ALL = ["a1", "b1", "c1", "d1", "e1", "f1"]


def test_small_shards_are_merged_and_every_clip_is_found(small: Workspace) -> None:
    done = compact(small, ALL)
    assert (done.clips_dropped, done.shards_deleted) == (0, 3)
    (shard,) = list_shards(small.shards_path)
    assert held(small, ALL)
    samples = list(webdataset.WebDataset(f"{small.shards_path}/{shard}", shardshuffle=False).decode())
    assert sorted(sample["__key__"] for sample in samples) == ALL
    assert {sample["txt"] for sample in samples} == {f"caption of {key}" for key in ALL}
    assert {sample["json"]["pair"] for sample in samples} == {f"pool/{key}" for key in ALL}
    assert compact(small, ALL).shards_deleted == 0


def test_a_few_small_shards_are_left_alone(small: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SMALL_SHARDS", 4)
    before = list_shards(small.shards_path)
    assert compact(small, ALL).shards_deleted == 0
    assert list_shards(small.shards_path) == before


def test_merged_shards_are_bounded(small: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SHARD_BYTES", 250)
    compact(small, ALL)
    assert sorted(place.offset for place in clip_places(small, ALL).values())[:2] == [512, 512]
    assert len(list_shards(small.shards_path)) == 2
    assert held(small, ALL)


def test_clips_that_no_pool_needs_are_kept_for_a_way_back(small: Workspace) -> None:
    assert compact(small, ["a1", "e1"]).clips_dropped == 0
    assert held(small, ALL)


def test_clips_that_no_pool_needs_go_when_they_take_too_much_room(
    small: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_SHARDS", 99)
    monkeypatch.setattr(compaction, "DEAD_BYTES", 300)
    assert compact(small, ["a1", "b1", "c1", "e1"]).clips_dropped == 0, "less than is needed"
    untouched = clip_places(small, ["a1"])["a1"].shard
    done = compact(small, ["a1", "b1", "c1"])
    assert (done.clips_dropped, done.shards_deleted) == (3, 2)
    assert held(small, ["a1", "b1", "c1"])
    assert clip_places(small, ["a1"])["a1"].shard == untouched
    assert set(clip_states(small)) == {"a1", "b1", "c1"}
    assert compact(small, ["a1", "b1", "c1"]).clips_dropped == 0


def test_a_withdrawn_clip_goes_at_once_and_leaves_no_byte(small: Workspace, tmp_path: Path) -> None:
    done = compact(small, [key for key in ALL if key != "d1"], withdrawn=["d1", "a1"])
    assert done.clips_dropped == 1
    assert held(small, [key for key in ALL if key != "d1"]), "a1 is still wanted, as another pair's"
    with pytest.raises(UserError, match="there is no clip d1"):
        clip_bytes(small, "d1")
    stored = b"".join(path.read_bytes() for path in Path(small.shards_path).iterdir())
    assert b"dddd" not in stored
    assert b"caption of d1" not in stored


def test_a_shard_of_withdrawn_clips_alone_is_deleted(
    small: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_SHARDS", 99)
    done = compact(small, ALL[:4], withdrawn=ALL[4:])
    assert (done.clips_dropped, done.shards_deleted) == (2, 1)
    assert len(list_shards(small.shards_path)) == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["write_shard", "move_clips", "drop_clips", "delete_shard", "forget_shards"])
def test_a_run_killed_at_any_step_loses_no_clip_and_the_next_one_ends_what_it_began(
    step: str, when: str, small: Workspace, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    wanted = [key for key in ALL if key != "f1"]
    ended = subprocess.run([sys.executable, script, step, tmp_path, when, *wanted], env=environment_now())
    assert ended.returncode == -signal.SIGKILL
    states = clip_states(small)
    assert {states[key].status for key in wanted} == {"ready"}
    assert held(small, wanted)
    compact(small, wanted)
    assert held(small, wanted)
    assert len(list_shards(small.shards_path)) == 1
    assert small.catalog.rows("select name from dropped_shards") == []
    assert {name for (name,) in small.catalog.rows("select name from shards") or ()} == list_shards(
        small.shards_path
    )


def test_a_reader_that_looked_before_still_finds_its_clips(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "SMALL_SHARDS", 2)
    videos = {key: encode_mp4(texture(i + 1, 16, 16), 8.0) for i, key in enumerate(["a1", "b1", "c1"])}
    for key, mp4 in videos.items():
        store(workspace, [Clip(key, mp4, "", {})])
    reading = read_clips(workspace, list(videos))
    assert len(next(reading)) == 1
    compact(workspace, list(videos))
    assert [len(frames) for frames in reading] == [2, 3]


def test_a_reader_of_a_clip_that_was_dropped_is_told_so(small: Workspace) -> None:
    place = clip_places(small, ["d1"])["d1"]
    compact(small, [key for key in ALL if key != "d1"], withdrawn=["d1"])
    with pytest.raises(UserError, match="there is no clip d1"):
        clips._bytes_at(small, place)


def test_another_run_that_compacts_the_same_shards_does_no_harm(
    small: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*what: Any) -> None:
        monkeypatch.setattr(compaction, "move_clips", move_clips)
        compact(small, ALL)
        move_clips(*what)

    monkeypatch.setattr(compaction, "move_clips", meanwhile)
    compact(small, ALL)
    assert held(small, ALL)
    compact(small, ALL)
    assert held(small, ALL)
    assert len(list_shards(small.shards_path)) == 1


def test_a_shard_that_cannot_be_read_stays(small: Workspace) -> None:
    broken = Path(small.shards_path, clip_places(small, ["c1"])["c1"].shard)
    broken.write_bytes(broken.read_bytes()[:700])
    compact(small, ALL)
    assert broken.exists()
    assert held(small, ["a1", "b1", "e1", "f1"])


def test_shards_on_another_file_system_are_compacted_too(
    small: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "shards_path", "memory://compacted/shards")
    store(small, [clip("g1")], [clip("h1")], [clip("i1")])
    compact(small, ["g1", "h1", "i1"])
    assert len(list_shards(small.shards_path)) == 1
    assert held(small, ["g1", "h1", "i1"])


def test_there_is_nothing_to_compact_at_first(workspace: Workspace) -> None:
    clip_states(workspace)
    assert compact(workspace, []).shards_deleted == 0
