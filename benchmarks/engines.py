"""Items made by Ray workers beside the same items made in this process, and what a lost worker costs.

Overhead: items of next to no work, each stored, made here and by one worker, in turns. Scaling: baseline
videos of the miniature, from models that are loaded, by one worker and by two of one processor each.
Recovery: a worker is killed while it makes a video; the time until a new one in its place has stored one, of
which most is starting a process and loading the model. Everything runs on a cluster of this machine; items
lie on its disk. Bar: two workers are at least 1.7 times as fast as one.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"  # one thread here and in each worker

import psutil
import ray
from _settings import ROOT, replaced
from _timing import at_least, interleaved, median_ratio, print_table

sys.path.append(str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, run_items
from onaspr_core.engines.protocol import Maker
from onaspr_core.generation import generate_videos
from onaspr_core.prompts import ingest_prompts
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.workspace import Workspace
from tests.project import SETTINGS, make_world

SCALING_BAR = 1.7


def keep_note(workspace: Workspace, names: Sequence[str]) -> Iterator[Failure]:
    """Store an item of a few bytes for each name."""
    for name in names:
        workspace.store.write("note", content_key("note", name=name), ".txt", name.encode(), {})
    yield from ()


@contextmanager
def open_notes(workspace: Workspace) -> Iterator[Maker[str]]:
    """Open nothing."""
    yield partial(keep_note, workspace)


class Project:
    """A small miniature, and workspaces in it with one engine or another."""

    def __init__(self, folder: Path, prompts: int) -> None:
        """Write the world and the settings."""
        make_world(folder / "world", 0)
        self.text = replaced(SETTINGS, "^prompt_limit = .*$", f"prompt_limit = {prompts}")
        self.folder = folder
        self.runs = 0

    def open(self, workers: int) -> Workspace:
        """Return a workspace with so many workers; with none, items are made in this process."""
        engine = f'engine = "ray"\nworkers = {workers}' if workers else 'engine = "local"'
        file = self.folder / "settings.toml"
        file.write_text(f"{self.text}\n[compute]\n{engine}\n")
        return Workspace(load_settings(file))

    def notes(self, workspace: Workspace, count: int) -> Outcome:
        """Store items that are not there."""
        self.runs += 1
        return run_items(
            "notes",
            [f"{self.runs} {number}" for number in range(count)],
            key=lambda name: content_key("note", name=name),
            name=str,
            exists=lambda keys: workspace.store.existing("note", keys),
            open_maker=partial(open_notes, workspace),
            engine=workspace.engine,
        )

    def videos(self, workspace: Workspace) -> Outcome:
        """Make the baseline's videos with noise that no video has been made from."""
        self.runs += 1
        return generate_videos(workspace, self.experiment(workspace), "baseline")

    def experiment(self, workspace: Workspace) -> Experiment:
        """Return the experiment with a seed of its own."""
        return workspace.settings.experiment("miniature").changed(seed=self.runs)


def overhead(project: Project, items: int, repetitions: int) -> list[list[str]]:
    """Time items of next to no work here and by one worker."""
    here, there = project.open(0), project.open(1)
    contenders = {
        "here": lambda: project.notes(here, items),
        "worker": lambda: project.notes(there, items),
    }
    seconds = interleaved(contenders, repetitions)
    there.close()
    one, other = (median(seconds[name]) / items * 1e3 for name in contenders)
    return [
        ["an item of next to no work, here", f"{one:.2f} ms", ""],
        ["the same by one worker", f"{other:.2f} ms", f"{other - one:.2f} ms more"],
    ]


def scaling(project: Project, repetitions: int) -> list[list[str]]:
    """Time videos here, by one worker and by two."""
    opened = {name: project.open(workers) for name, workers in (("here", 0), ("one", 1), ("two", 2))}
    ingest_prompts(opened["here"], project.experiment(opened["here"]))
    seconds = interleaved({name: partial(project.videos, one) for name, one in opened.items()}, repetitions)
    for one in opened.values():
        one.close()
    to_here = median_ratio(seconds["one"], seconds["here"])
    to_one = median_ratio(seconds["one"], seconds["two"])
    return [
        ["videos here, one thread", f"{median(seconds['here']):.1f} s", ""],
        ["by one worker", f"{median(seconds['one']):.1f} s", f"{to_here:.2f} × the time"],
        [
            "by two workers",
            f"{median(seconds['two']):.1f} s",
            f"{to_one:.2f} × as fast as one, {at_least(to_one, SCALING_BAR)}",
        ],
    ]


def recovery(project: Project) -> list[list[str]]:
    """Kill a worker while it makes a video; time how long none is stored."""
    workspace = project.open(1)
    stored: list[float] = []
    killed: list[float] = []

    def watch() -> None:
        known = set(workspace.store.keys(VIDEO))
        while not stored or not killed or len(stored) < 6:
            now = set(workspace.store.keys(VIDEO))
            stored.extend([time.monotonic()] * len(now - known))
            known = now
            if len(stored) >= 3 and not killed:
                killed.append(time.monotonic())
                worker().kill()
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    outcome = project.videos(workspace)
    watching.join()
    workspace.close()
    if outcome.failures:
        raise SystemExit(f"items were lost: {outcome.failures}")
    gap = next(moment for moment in stored if moment > killed[0] + 0.1) - killed[0]
    return [["from a worker's death to the next video", f"{gap:.1f} s", "no item lost"]]


def worker() -> psutil.Process:
    """The process of the only worker, as Ray names it."""
    [found] = [one for one in psutil.process_iter() if one.name().startswith("ray::RayWorker")]
    return found


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    # Room for the workers of all contenders, of which one at a time has work.
    ray.init("local", num_cpus=4, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), asked.prompts)
        rows = overhead(project, asked.items, asked.repetitions)
        rows += scaling(project, asked.repetitions)
        rows += recovery(project)
    print_table(["what", "time", "ratio"], rows)


if __name__ == "__main__":
    main()
