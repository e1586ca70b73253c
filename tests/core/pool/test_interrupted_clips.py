"""A run that is killed while it makes clips, with its worker processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onaspr_core.pool.clips import make_clips, read_clip
from onaspr_core.pool.manifest import build_manifest, listed_pairs
from onaspr_core.workspace import Workspace
from tests.processes import environment_now

Write = Callable[..., Path]
Open = Callable[..., Workspace]

INTERRUPTED_RUN = """
import sys, time
from pathlib import Path
import psutil
from onaspr_core.pool import clips, compaction
from onaspr_core.settings import ClipSettings, PoolSettings, Settings
from onaspr_core.workspace import Workspace

def enter_one_shard_then_hang(workspace, places, failed):
    if calls:
        print(*(child.pid for child in psutil.Process().children()), flush=True)
        time.sleep(600)
    calls.append(1)
    enter(workspace, places, failed)

if __name__ == "__main__":
    calls, enter = [], clips.enter_clips
    clips.enter_clips = enter_one_shard_then_hang
    clips.CLIPS_PER_FLUSH, clips.SECONDS_PER_FLUSH = 4, float("inf")
    clip = ClipSettings(resolution=32, frame_stride=2, max_frames=3, crf=20)
    pool = PoolSettings(format="folder", path="captions.csv", videos="videos", seed=1, size=None, clip=clip)
    settings = Settings(base=Path(sys.argv[1]), pools={"small": pool}, backbones={}, experiments={})
    clips.make_clips(Workspace(settings))
"""

pytestmark = pytest.mark.usefixtures("cut_in_this_process")


def test_a_run_killed_at_any_moment_keeps_its_finished_shards_and_uses_no_half_written_one(
    open_pools: Open, write_video: Write, tmp_path: Path
) -> None:
    captions = {f"{seed}.mp4": f"caption {seed}" for seed in range(15)}
    for seed, name in enumerate(captions):
        write_video(name, seed=seed)
    workspace = open_pools(captions)
    build_manifest(workspace)
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED_RUN)
    with subprocess.Popen(
        [sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True, env=environment_now()
    ) as run:
        assert run.stdout is not None
        workers = [int(pid) for pid in run.stdout.readline().split()]
        os.kill(run.pid, signal.SIGKILL)
    half = Path(workspace.shards_path, "clips-half.tar.0.partial")
    half.write_bytes(b"half a shard")

    # One shard is in the catalog; the second is whole, but its process died before it could say so.
    outcome = make_clips(workspace)
    assert (outcome.total, outcome.computed, outcome.reused, outcome.failures) == (15, 7, 8, ())
    for pair in listed_pairs(workspace, "small"):
        assert pair.clip_key is not None
        assert read_clip(workspace, pair.clip_key).shape == (3, 32, 32, 3)
    assert workers
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
