import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from onaspr_core.pool import workers
from onaspr_core.pool.workers import run_jobs

GIGABYTE = 2**30


def work(job: str) -> str:
    """What a decoder does to its process, by the job's name."""
    match job.split()[0]:
        case "crash":
            os.kill(os.getpid(), 11)
        case "hang":
            time.sleep(600)
        case "swell":
            try:
                return f"swelled to {len(bytearray(64 * GIGABYTE))}"
            except MemoryError:
                return "no memory"
        case "main":
            return str(getattr(sys.modules["__main__"], "__file__", None))
        case "pid":
            time.sleep(0.2)
            return str(os.getpid())
        case "large":
            return "x" * 20_000_000
    return f"did {job}"


def lost(job: str, how: str) -> str:
    return f"{job} {how}"


def run(*jobs: str, processes: int = 2, seconds: float = 60.0) -> list[str]:
    results = run_jobs(jobs, work, lost, processes=processes, seconds=seconds, memory=16 * GIGABYTE)
    return sorted(result for result in results if result is not None)


def test_every_job_has_its_result() -> None:
    assert run(*(f"job {i:02}" for i in range(30))) == [f"did job {i:02}" for i in range(30)]


def test_no_jobs_start_no_process() -> None:
    assert run() == []


def test_a_job_that_ends_its_process_is_lost_alone() -> None:
    jobs = ["a", "crash 1", "b", "c", "crash 2", "crash 3", "d"]
    expected = ["crash 1 crashed", "crash 2 crashed", "crash 3 crashed", "did a", "did b", "did c", "did d"]
    assert run(*jobs) == expected


def test_a_job_that_hangs_is_lost_alone_and_its_process_is_ended() -> None:
    before = psutil.Process().children()
    assert run("a", "hang", "b", "c", seconds=4.0) == ["did a", "did b", "did c", "hang hung"]
    assert psutil.Process().children() == before


def test_memory_is_bounded() -> None:
    assert run("swell") == ["no memory"]


def test_jobs_are_done_side_by_side() -> None:
    assert len(set(run(*["pid"] * 8, processes=2))) == 2


def test_a_process_does_not_run_the_program_that_started_it() -> None:
    assert run("main") == ["None"]


def test_large_results_arrive() -> None:
    assert [len(result) for result in run("large", "large", "large")] == [20_000_000] * 3


def test_a_caller_that_takes_its_time_makes_no_job_late() -> None:
    jobs = run_jobs(["a", "b", "c", "d"], work, lost, processes=2, seconds=3.0, memory=16 * GIGABYTE)
    results = (result for result in jobs if result is not None)
    first = next(results)
    time.sleep(3.5)
    assert sorted([first, *results]) == ["did a", "did b", "did c", "did d"]


def test_who_waits_for_a_slow_job_hears_that_there_is_no_result_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "SECONDS_BETWEEN_TICKS", 0.05)
    results = run_jobs(["a", "hang"], work, lost, processes=2, seconds=60.0, memory=16 * GIGABYTE)
    assert "did a" in results
    assert next(results) is None
    results.close()  # type: ignore[attr-defined]


def test_jobs_are_read_only_as_they_are_needed() -> None:
    read = []

    def jobs() -> Iterator[str]:
        for i in range(100):
            read.append(i)
            yield f"job {i}"

    before = psutil.Process().children()
    results = run_jobs(jobs(), work, lost, processes=2, seconds=60.0, memory=16 * GIGABYTE)
    assert any(results)
    assert len(read) <= 8
    results.close()  # type: ignore[attr-defined]
    assert psutil.Process().children() == before


def test_a_process_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    with pytest.raises(RuntimeError, match="did not start"):
        run("a")
