"""Runs whose process is gone: told as failed, and what they held is given back.

Dagster frees the slot of a pool when a step ends. A run that was killed never says so, and the next run would
wait for its slot for ever. Only runs that are processes of this machine are looked after: those of an
instance on SQLite, and those of a database where ONASPR_RUNS_HERE is set, as it is for a code location that
starts all runs itself (examples/deploy).

While a run goes on it holds a lock on a file of its own, which any process that ends lets go of. No clock and
no process number says as much: a clock may be set, and numbers are given again. They are asked only of a run
that has begun and has no lock yet.
"""

import os
from pathlib import Path

import dagster as dg
import psutil
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from filelock import FileLock, Timeout

SECONDS_OF_DOUBT = 2.0
"""Clocks of the event log and of the process table may differ by this much."""

_SAID_BY_THE_RUN = {dg.DagsterEventType.RUN_START, dg.DagsterEventType.STEP_START}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs of this machine as failed whose process has ended, and free their slots; return their ids.

    Nothing is done where runs of other machines may be in the instance. A run that has not said anything yet,
    such as one that is being launched, is left alone.
    """
    if not _all_runs_are_here(instance):
        return []
    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    ended = []
    for run in instance.get_runs(going):
        if not _goes_on(instance, run.run_id):
            instance.report_run_failed(run, "Its process ended without a word; finished items are kept.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


def begin(instance: dg.DagsterInstance, run_id: str) -> FileLock | None:
    """Hold the lock of a run that this process is; None where nobody would ask for it."""
    if not _all_runs_are_here(instance):
        return None
    place = _lock_file(instance, run_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_name(f"{run_id}.{os.getpid()}"))
    lock.acquire(timeout=0)
    # Where it is looked for a lock appears held: one that is free means that its process has ended.
    Path(lock.lock_file).replace(place)
    return lock


def conclude(instance: dg.DagsterInstance, run_id: str, lock: FileLock) -> None:
    """Let go of the lock of a run that comes to its end."""
    _lock_file(instance, run_id).unlink(missing_ok=True)
    lock.release()


def _all_runs_are_here(instance: dg.DagsterInstance) -> bool:
    return isinstance(instance.run_storage, SqliteRunStorage) or bool(os.environ.get("ONASPR_RUNS_HERE"))


def _lock_file(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "runs-going" / f"{run_id}.lock"


def _goes_on(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Say whether the process of a run still runs; also where the run has not said a word."""
    place = _lock_file(instance, run_id)
    if place.exists():
        lock = FileLock(place)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        conclude(instance, run_id, lock)
        return False
    said = instance.all_logs(run_id, of_type=_SAID_BY_THE_RUN)
    return not said or _alive(said[-1])


def _alive(last: dg.EventLogEntry) -> bool:
    """Say whether the process that logged an event still runs; a later one may have got its number."""
    pid = last.dagster_event.pid if last.dagster_event else None
    if pid is None:
        return True
    try:
        process = psutil.Process(pid)
        started_before = process.create_time() < last.timestamp + SECONDS_OF_DOUBT
        return started_before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
