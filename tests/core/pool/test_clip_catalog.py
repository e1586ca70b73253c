"""What the catalog remembers of clips when several runs tell it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onaspr_core.pool import clips
from onaspr_core.pool.clip_catalog import clip_states, enter_clips, enter_suspects
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.cut import CutClip, CutJob, cut_clip
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.pool.shards import Clip, write_shard
from onaspr_core.workspace import Workspace


@pytest.mark.parametrize("give_up", [lambda w, why: enter_clips(w, [], why), enter_suspects])
def test_a_clip_that_is_there_is_not_given_up_because_another_run_lost_it(
    open_pools: Callable[..., Workspace], give_up: Callable[[Workspace, dict[str, str]], None]
) -> None:
    workspace = open_pools({})
    enter_clips(workspace, write_shard(workspace.shards_path, [Clip("made", b"mp4", "caption", {})]), {})

    def after_three_tries() -> dict[str, str]:
        for _ in range(3):
            give_up(workspace, {"made": "crashed", "lost": "crashed"})
        return {key: state.status for key, state in clip_states(workspace).items()}

    assert after_three_tries() == {"made": "ready", "lost": "failed"}
    for shard in Path(workspace.shards_path).iterdir():
        shard.unlink()
    assert after_three_tries() == {"made": "failed", "lost": "failed"}


def test_finished_clips_are_stored_while_a_slow_file_is_waited_for(
    open_pools: Callable[..., Workspace], write_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("a.mp4", "slow.mp4")):
        write_video(name, seed=seed)
    workspace = open_pools({"a.mp4": "one", "slow.mp4": "two"})
    build_manifest(workspace)
    stored: list[int] = []

    def one_slow(jobs: Iterator[CutJob], processes: int) -> Iterator[CutClip | None]:
        first, second = jobs
        yield cut_clip(first)
        monkeypatch.setattr(clips, "SECONDS_PER_FLUSH", 0.0)
        yield None
        stored.append(len(clip_states(workspace)))
        yield cut_clip(second)

    monkeypatch.setattr(clips, "cut_all", one_slow)
    assert make_clips(workspace).computed == 2
    assert stored == [1]
