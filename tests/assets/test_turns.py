"""No more steps of a pool at once than it allows."""

import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.turns import one_of, slots


def most_at_once(folder: Path, limit: int, steps: int) -> int:
    """How many of so many threads that each want a slot hold one at the same time."""
    holding, most, guard = 0, 0, threading.Lock()

    def step() -> None:
        nonlocal holding, most
        with one_of("gpu", limit, folder):
            with guard:
                holding += 1
                most = max(most, holding)
            time.sleep(0.3)
            with guard:
                holding -= 1

    threads = [threading.Thread(target=step) for _ in range(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most


@pytest.mark.parametrize("limit", [1, 2])
def test_as_many_hold_a_slot_as_there_are(tmp_path: Path, limit: int) -> None:
    assert most_at_once(tmp_path, limit, steps=4) == limit


def test_a_slot_is_given_back_when_the_step_fails(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="fire"), one_of("gpu", 1, tmp_path):
            raise RuntimeError("the machine is on fire")


def test_the_slots_are_those_of_the_instance(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((Path(__file__).parents[2] / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert slots(instance, "gpu") == 1
        instance.event_log_storage.set_concurrency_slots("gpu", 2)
        assert slots(instance, "gpu") == 2


def test_an_instance_that_allows_any_number_needs_no_turns(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert slots(instance, "gpu") is None
