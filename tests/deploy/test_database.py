"""The instance of the layouts on a real database."""

import os
import shutil
import signal
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.runs import end_dead_runs
from tests.assets.test_runs import holders, start
from tests.deploy.layouts import DEPLOY, validate


@pytest.fixture
def home(database: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home with the layouts' instance."""
    for name, value in database.items():
        monkeypatch.setenv(name, value)
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path)
    return tmp_path


def test_a_layout_is_valid_with_its_instance(home: Path, served: Path) -> None:
    ran = validate(served, os.environ | {"DAGSTER_HOME": str(home)})
    assert ran.returncode == 0, ran.stderr


def test_a_run_that_died_is_told_as_failed_only_by_the_place_that_starts_all_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(home)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        assert end_dead_runs(instance) == []
        assert holders(instance) == {run.run_id}
        monkeypatch.setenv("ONASPR_RUNS_HERE", "1")
        assert end_dead_runs(instance) == [run.run_id]
        assert holders(instance) == set()
    with dg.DagsterInstance.from_config(str(home)) as again:
        (run,) = again.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
