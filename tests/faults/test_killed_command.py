"""`dagster asset materialize`, killed at any moment with all that it has started: the next one finishes.

2 kills in the suite. `make torture` sets ONASPR_KILLS, of which a tenth is done here: a command takes longer
to start than to work. ONASPR_SEED repeats a series.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.conftest import Undisturbed
from tests.faults.kept import TABLES, Watch, kept
from tests.faults.served import LOCATION, observed_project, stored
from tests.faults.test_killed import KILLS as KILLS_OF_PROCESSES
from tests.faults.test_killed import SEED
from tests.project import ROOT, Project, makefile_assets

KILLS = max(1, KILLS_OF_PROCESSES // 10)
ASSETS = 18
LONGEST = 600.0
"""Seconds after which a command that should have ended hangs."""
LOG_OF_COMMANDS = "commands.log"

pytestmark = pytest.mark.timeout(120 + 2 * LONGEST * (KILLS + 1))


def begin(project: Project) -> "subprocess.Popen[bytes]":
    """Materialize everything, in a process group of its own."""
    words = ("--select", makefile_assets(), "--partition", "one", "-c", "console.yaml")
    with (project.folder / LOG_OF_COMMANDS).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", "asset", "materialize", "-f", LOCATION, *words],
            cwd=ROOT,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ended(project: Project, moment: "Moment | None") -> bool:
    """Run the command until it ends, or until a moment at which it is killed; say whether it ended."""
    watch = Watch(project.folder)
    process = begin(project)
    deadline = time.monotonic() + LONGEST
    try:
        while process.poll() is None and not (moment and moment.has_come()):
            watch.look()
            assert time.monotonic() < deadline, (
                f"waited {LONGEST:.0f} s for the command to end\n{told(project)}"
            )
            time.sleep(0.02)
        done = process.poll() is not None
    finally:
        # What it has started too, and also where it has ended.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    watch.look()
    assert process.returncode == 0 or not done, told(project)
    return done


def told(project: Project) -> str:
    """The last of what commands printed."""
    return (project.folder / LOG_OF_COMMANDS).read_text()[-4000:]


class Moment:
    """A moment of a command: when so many items have been stored, and some seconds after that."""

    def __init__(self, folder: Path, items: int, seconds: float) -> None:
        self._folder, self._items, self._seconds = folder, items, seconds
        self._came: float | None = None

    def has_come(self) -> bool:
        """Whether it is here, or past."""
        if self._came is None and len(stored(self._folder)) >= self._items:
            self._came = time.monotonic()
        return self._came is not None and time.monotonic() > self._came + self._seconds


def drawn(folder: Path, moments: random.Random, items: int) -> Moment:
    """Draw a moment of what is still to be done, of so many items in all."""
    return Moment(folder, moments.randint(min(len(stored(folder)), items), items), moments.uniform(0, 2))


def test_a_command_killed_at_any_moment_is_finished_by_the_next(
    new_project: Callable[[str], Path], undisturbed: Undisturbed
) -> None:
    moments = random.Random(SEED)
    items = len(undisturbed.kept) - len(TABLES)
    kills = 0
    print(f"seed {SEED}; {items} items")
    while kills < KILLS:
        project = observed_project(new_project("killed-command"))
        while not ended(project, drawn(project.folder, moments, items) if kills < KILLS else None):
            kills += 1
            print(f"kill {kills} when {len(stored(project.folder))} of {items} items were there")
        assert kept(project.folder) == undisturbed.kept
        assert {item: times for item, times in Counter(stored(project.folder)).items() if times > 1} == {}
        shown = project.metadata("one")
        assert len(shown) == ASSETS
        assert {metadata["items_failed"] for metadata in shown.values()} == {0}
