"""A run that is killed at any moment: the next one finishes, and nothing is lost, halved or made in vain.

20 kills in the suite; `make torture` sets ONASPR_KILLS for more, and ONASPR_SEED repeats a series.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.faults.child import LOG, materialize, start
from tests.faults.conftest import Undisturbed
from tests.faults.kept import Watch, kept

KILLS = int(os.environ.get("ONASPR_KILLS", "20"))
SEED = int(os.environ.get("ONASPR_SEED", "7"))

pytestmark = pytest.mark.timeout(120 + 60 * KILLS)


def killed(process: BaseProcess, watch: Watch, seconds: float) -> bool:
    """Kill a process after some time, and say whether it had not ended before."""
    deadline = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < deadline:
        watch.look()
        time.sleep(0.005)
    ended = not process.is_alive()
    process.kill()
    process.join()
    watch.look()
    assert process.exitcode == 0 if ended else process.exitcode in (-9, 0)
    return process.exitcode != 0


def assert_little_was_made_twice(folder: Path, undisturbed: Undisturbed) -> None:
    """What was stored is never made again; what was begun twice was in flight when its process was killed."""
    begun, in_flight, stored = 0, Counter[str](), Counter[str]()
    for line in (folder / LOG).read_text().splitlines():
        event, pid, *rest = line.split()
        if event == "stored":
            stored[" ".join(rest)] += 1
        else:
            count = int(rest[0])
            begun += count if event == "begin" else 0
            in_flight[pid] += count if event == "begin" else -count
    assert {item: times for item, times in stored.items() if times > 1} == {}
    assert begun - undisturbed.begun <= in_flight.total()


def test_a_run_killed_at_any_moment_is_finished_by_the_next(
    new_project: Callable[[str], Path], undisturbed: Undisturbed
) -> None:
    moments = random.Random(SEED)
    kills = finished = partials = 0
    print(f"seed {SEED}; an undisturbed run takes {undisturbed.seconds:.1f} s")
    while kills < KILLS:
        folder = new_project("killed")
        watch = Watch(folder)
        while True:
            seconds = moments.uniform(0, undisturbed.seconds) if kills < KILLS else float("inf")
            if not killed(start(materialize, folder), watch, seconds):
                break
            kills += 1
            print(f"kill {kills} after {seconds:.2f} s")
        finished, partials = finished + 1, partials + watch.partials
        assert kept(folder) == undisturbed.kept
        assert_little_was_made_twice(folder, undisturbed)
    print(f"{kills} kills over {finished} projects; {partials} half-written files seen, under other names")
