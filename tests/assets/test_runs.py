"""A run that is killed gives back what it held, and a run that is alive is left alone."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.stats import StepEventStatus
from dagster._daemon.monitoring import run_monitoring

from onaspr_assets import runs
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.runs import end_dead_runs
from tests.processes import environment_now

HOLDS_THE_POOL = """
import time
import dagster as dg

@dg.asset(pool="gpu")
def slow() -> None:
    print("holding", flush=True)
    time.sleep(600)

with dg.DagsterInstance.from_config({home!r}) as instance:
    dg.materialize([slow], instance=instance)
"""
AS_THE_HOUSE_DOES = HOLDS_THE_POOL.replace("slow()", "slow(workspace: WorkspaceResource)").replace(
    "[slow], ", "[slow], resources={{'workspace': WorkspaceResource(settings_path='')}}, "
)
AS_THE_HOUSE_DOES = f"from onaspr_assets.resources import WorkspaceResource\n{AS_THE_HOUSE_DOES}"
"""A run that is handed its workspace, as all of this project are."""


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    (tmp_path / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    return dg.DagsterInstance.from_config(str(tmp_path))


def start(home: Path, script: str = HOLDS_THE_POOL) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script.format(home=str(home))],
        env=environment_now(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "holding" in line:
            return process
    raise AssertionError("the run ended before it held the pool")


def holders(instance: dg.DagsterInstance) -> set[str]:
    return {str(step.run_id) for step in instance.event_log_storage.get_concurrency_info("gpu").claimed_slots}


def test_a_killed_run_is_told_as_failed_and_its_slot_is_free(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    process = start(tmp_path)
    try:
        (run,) = instance.get_runs()
        assert end_dead_runs(instance) == []
        assert holders(instance) == {run.run_id}
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert holders(instance) == {run.run_id}
    assert end_dead_runs(instance) == [run.run_id]
    assert holders(instance) == set()
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE
    assert end_dead_runs(instance) == []


def test_another_process_with_the_same_number_is_not_taken_for_the_run(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(tmp_path)
    try:
        (run,) = instance.get_runs()
        now = time.time()
        monkeypatch.setattr("psutil.Process.create_time", lambda _: now + 3600)
        assert end_dead_runs(instance) == [run.run_id]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def test_a_clock_that_is_set_ends_no_run_and_a_killed_one_is_told_as_failed_whatever_it_shows(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(tmp_path, AS_THE_HOUSE_DOES)
    try:
        (run,) = instance.get_runs()
        with monkeypatch.context() as patch:
            # When a process began is told by the clock of now.
            now = time.time()
            patch.setattr("psutil.Process.create_time", lambda _: now + 3600)
            assert end_dead_runs(instance) == []
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    # Its number is given to another process, which began before the run as this clock has it.
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_alive", lambda _: True)
        assert end_dead_runs(instance) == [run.run_id]
    assert holders(instance) == set()
    assert list((tmp_path / "runs-going").iterdir()) == []


def test_a_run_that_came_to_its_end_leaves_no_lock(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    @dg.asset
    def looks(workspace: WorkspaceResource) -> None:
        assert end_dead_runs(instance) == []
        (lock,) = (tmp_path / "runs-going").iterdir()
        assert lock.name == f"{instance.get_runs()[0].run_id}.lock"

    @dg.asset(deps=[looks])
    def breaks(workspace: WorkspaceResource) -> None:
        raise RuntimeError

    resources = {"workspace": WorkspaceResource(settings_path="")}
    dg.materialize([looks, breaks], instance=instance, resources=resources, raise_on_error=False)
    (run,) = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.FAILURE
    steps = {one.step_key: one.status for one in instance.get_run_step_stats(run.run_id)}
    assert steps == {"looks": StepEventStatus.SUCCESS, "breaks": StepEventStatus.FAILURE}
    assert list((tmp_path / "runs-going").iterdir()) == []


def test_the_next_run_gives_back_what_a_killed_one_held(
    instance: dg.DagsterInstance, tmp_path: Path, settings_file: Path
) -> None:
    process = start(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    @dg.asset(pool="gpu")
    def quick(workspace: WorkspaceResource) -> None:
        pass

    workspace = WorkspaceResource(settings_path=str(settings_file))
    assert dg.materialize([quick], instance=instance, resources={"workspace": workspace}).success
    assert holders(instance) == set()


def test_a_run_that_was_killed_before_it_said_a_word_is_told_as_failed(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = instance.create_run_for_job(dg.Definitions(jobs=[nothing]).resolve_job_def("nothing"))
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None and instance.run_monitoring_enabled
    run_monitoring.monitor_starting_run(instance, record, logging.getLogger())
    assert [one.status for one in instance.get_runs()] == [dg.DagsterRunStatus.NOT_STARTED]
    later = time.time() + instance.run_monitoring_start_timeout_seconds + 1
    monkeypatch.setattr(run_monitoring, "get_current_timestamp", lambda: later)
    run_monitoring.monitor_starting_run(instance, record, logging.getLogger())
    assert [one.status for one in instance.get_runs()] == [dg.DagsterRunStatus.FAILURE]


@dg.job
def nothing() -> None:
    pass
