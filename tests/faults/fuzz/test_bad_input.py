"""Bad input of every kind: a reason for each item, no crash, no hang, nothing written outside of the store.

300 cases in the suite; `make torture` sets ONASPR_FUZZ for more. ONASPR_SEED chooses others, and
ONASPR_CASES="csv 17" takes in one of them, or several ("tars 3 4 9") that share a project.
"""

import os
from pathlib import Path

import pytest

from onaspr_core.pool.workers import MEMORY_PER_PROCESS, run_jobs
from tests.faults.fuzz.kinds import CASES, KINDS, Cases, judge, lost

NUMBER = int(os.environ.get("ONASPR_FUZZ", CASES))
SEED = int(os.environ.get("ONASPR_SEED", "7"))
CHOSEN = os.environ.get("ONASPR_CASES", "").split()

SECONDS = 120.0
"""A project that takes longer hangs. One takes a second or two; 45 videos take ten."""

MOST_MEMORY = 2 * 2**30
"""What a process may hold at once. A frame of 8K takes a tenth of a GB in each of its forms."""

pytestmark = pytest.mark.timeout(300 + NUMBER)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_and_the_good_beside_it_is_taken_in(kind: str, tmp_path: Path) -> None:
    if CHOSEN and CHOSEN[0] != kind:
        pytest.skip("other cases were chosen")
    numbers = [int(one) for one in CHOSEN[1:]] or range(round(KINDS[kind].cases * NUMBER / CASES))
    together = len(numbers) if CHOSEN else KINDS[kind].together
    starts = range(0, len(numbers), together)
    cases = [Cases(SEED, kind, numbers[i : i + together], tmp_path / str(i)) for i in starts]
    print(f"seed {SEED}, {len(numbers)} cases of {kind}")
    found = run_jobs(cases, judge, lost, processes=1, seconds=SECONDS, memory=MEMORY_PER_PROCESS)
    verdicts = [verdict for verdict in found if verdict is not None]
    faults = [f"{kind} {' '.join(map(str, v.cases.numbers))}: {v.fault}" for v in verdicts if v.fault]
    assert not faults, f"seed {SEED}: {len(faults)} faults\n" + "\n\n".join(faults)
    assert len(verdicts) == len(cases)
    assert max(verdict.memory for verdict in verdicts) < MOST_MEMORY
