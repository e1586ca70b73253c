"""What the catalog remembers of clips when several runs tell it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onaspr_core.pool.clip_catalog import clip_states, enter_clips, enter_suspects
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
