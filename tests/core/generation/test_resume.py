"""A run that is killed, and the one after it."""

import os
import signal
import subprocess
import sys
import time

from onaspr_core.generation import video_items
from onaspr_core.prompts import ingest_prompts
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.workspace import Workspace

GENERATE = """
import sys, torch
from onaspr_core.generation import generate_videos
from onaspr_core.settings import load_settings
from onaspr_core.workspace import Workspace

torch.set_num_threads(1)
workspace = Workspace(load_settings(sys.argv[1]))
generate_videos(workspace, workspace.settings.experiment("tiny"), "baseline")
"""


def test_after_a_kill_in_the_middle_the_next_run_makes_what_is_missing_and_ends_byte_for_byte_the_same(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    base = tiny_workspace.settings.base
    text = (base / "settings.toml").read_text()
    text = text.replace("steps = 4", "steps = 30").replace("batch_size = 2", "batch_size = 1")
    stores = {}
    for name in ("killed", "undisturbed"):
        settings = base / f"{name}.toml"
        settings.write_text(text + f'[store]\nroot = "{name}"\n')
        workspace = Workspace(load_settings(settings))
        ingest_prompts(workspace, workspace.settings.experiment("tiny"))
        stores[name] = workspace.store
    videos = base / "killed" / "artifacts" / VIDEO
    process = subprocess.Popen([sys.executable, "-c", GENERATE, str(base / "killed.toml")])
    deadline = time.monotonic() + 200
    while len(list(videos.rglob("*.record.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = {path: path.stat().st_mtime_ns for path in videos.rglob("*.record.json")}
    assert 2 <= len(made) < 5
    for name in stores:
        subprocess.run([sys.executable, "-c", GENERATE, str(base / f"{name}.toml")], check=True)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    items = video_items(workspace, workspace.settings.experiment("tiny"), "baseline")
    assert len(items) == 5
    for item in items:
        assert stores["killed"].read(VIDEO, item.key) == stores["undisturbed"].read(VIDEO, item.key)
