"""Runs whose process is gone: told as failed, and what they held is given back.

Dagster frees the slot of a pool when a step ends. A run that was killed never says so, and the next run would
wait for its slot for ever. Only runs that are processes of this machine are looked after: those of an
instance on SQLite, and those of a database where ONASPR_RUNS_HERE is set, as it is for a code location that
starts all runs itself (examples/deploy).
"""

import os

import dagster as dg
import psutil
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage

SECONDS_OF_DOUBT = 2.0
"""Clocks of the event log and of the process table may differ by this much."""

_SAID_BY_THE_RUN = {dg.DagsterEventType.RUN_START, dg.DagsterEventType.STEP_START}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs of this machine as failed whose process has ended, and free their slots; return their ids.

    Nothing is done where runs of other machines may be in the instance. A run that has not said anything yet,
    such as one that is being launched, is left alone.
    """
    if not isinstance(instance.run_storage, SqliteRunStorage) and not os.environ.get("ONASPR_RUNS_HERE"):
        return []
    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    ended = []
    for run in instance.get_runs(going):
        said = instance.all_logs(run.run_id, of_type=_SAID_BY_THE_RUN)
        if said and not _alive(said[-1]):
            instance.report_run_failed(run, "Its process ended without a word; finished items are kept.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended.append(run.run_id)
    return ended


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
