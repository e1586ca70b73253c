"""Items made by the workers of a cluster: what comes home, and what is lost with a worker."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from onaspr_core.compute import Failure
from onaspr_core.engines import crew
from onaspr_core.errors import StoreError, UserError
from tests.core.engines.conftest import Open, begun
from tests.core.engines.jobs import note_of, notes, numbered, run_notes, squares


def test_items_are_made_by_workers_that_open_their_maker_once_and_tell_what_they_loaded(
    open_on: Open, folder: Path
) -> None:
    workspace = open_on()
    names = [f"slow {n}" for n in range(8)]
    outcome = run_notes(workspace, names, folder)
    assert (outcome.total, outcome.computed, outcome.reused, outcome.failures) == (8, 8, 0, ())
    pids = {note_of(workspace, name).split()[-2] for name in names}
    assert len(pids) == 2 and str(os.getpid()) not in pids
    assert {path.name for path in folder.glob("opened-*")} == {f"opened-{pid}" for pid in pids}
    assert workspace.models.loaded == ("pen",) and workspace.models.device("pen") == "paper"
    again = run_notes(workspace, [*names, "slow 8"], folder)
    assert (again.computed, again.reused) == (1, 8)
    assert note_of(workspace, "slow 8").split()[-2] in pids


def test_failures_errands_and_log_lines_come_home(
    open_on: Open, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = open_on()
    outcome = run_notes(workspace, ["a", "burnt b", "errand c"], folder, batch_size=2)
    assert outcome.failures == (Failure("burnt b", "burnt"),)
    assert outcome.computed == 2
    assert (folder / "errand c").read_text() == str(os.getpid())
    assert "errand c is on its way" in caplog.text


def test_a_worker_that_dies_costs_the_item_that_it_was_at(open_on: Open, folder: Path) -> None:
    workspace = open_on()
    names = ["a", "b", "fragile c", "d", "e", "f"]
    outcome = run_notes(workspace, names, folder, batch_size=3)
    assert (outcome.computed, outcome.failures) == (6, ())
    assert sorted(begun(folder)) == sorted([*names, "fragile c"])


def test_an_item_over_which_workers_die_is_a_failure_and_the_others_are_made(
    open_on: Open, folder: Path
) -> None:
    outcome = run_notes(open_on(), ["a", "deadly b", "c", "d"], folder, batch_size=2)
    assert outcome.computed == 3
    [failure] = outcome.failures
    assert (failure.item, failure.passing) == ("deadly b", True)
    assert failure.reason.startswith("3 workers died over it")
    assert begun(folder).count("deadly b") == 3
    assert all(begun(folder).count(name) == 1 for name in "acd")


def test_what_a_person_must_mend_ends_the_stage_with_its_sentence_and_keeps_what_was_made(
    open_on: Open, folder: Path
) -> None:
    workspace = open_on(workers=1)
    with pytest.raises(UserError, match=r"^refused b is not for us$"):
        run_notes(workspace, ["a", "refused b", "slow c"], folder)
    assert note_of(workspace, "a").startswith("a ")
    with pytest.raises(StoreError, match=r"^away d does not answer$"):
        run_notes(workspace, ["away d"], folder)
    with pytest.raises(RuntimeError, match=r"in _happens[\s\S]*ZeroDivisionError: broken d"):
        run_notes(workspace, ["broken d"], folder)
    assert run_notes(workspace, ["a", "slow c"], folder).reused == 1


def test_a_worker_never_opens_the_catalog(open_on: Open, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="a worker must not open the catalog"):
        run_notes(open_on(), ["catalog a"], folder)


def test_results_come_home_and_no_more_is_sent_than_workers_are_at(open_on: Open, folder: Path) -> None:
    sent: list[int] = []
    found: list[int] = []
    waiting = 0
    numbers = numbered([1, 2, -3, *range(4, 30)], sent)
    for one in open_on().engine.spread(partial(squares, folder), numbers, 1):
        if one is not None:
            found.append(one[0])
            waiting = max(waiting, len(sent) - len(found))
    assert sorted(found) == [n * n for n in range(1, 30)]
    assert waiting <= 2 * crew.PIECES_AHEAD + 2  # two workers, and two more that may be hired


def test_where_there_is_no_room_the_run_ends_with_what_the_cluster_has(open_on: Open, folder: Path) -> None:
    workspace = open_on(gpus_per_worker=1.0, wait_seconds=2.0)
    with pytest.raises(UserError, match="one takes 1 CPU and 1 GPU, and all machines have 2 CPU and 0 GPU"):
        run_notes(workspace, ["a"], folder)
    workspace = open_on(workers=1, cpus_per_worker=64.0, wait_seconds=2.0)
    with pytest.raises(UserError, match="no worker for 2 s: one takes 64 CPU"):
        run_notes(workspace, ["a"], folder)


def test_a_machine_that_joins_late_is_used_and_one_that_is_lost_is_survived(
    open_on: Open, folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "SECONDS_BETWEEN_LOOKS", 0.2)
    workspace = open_on()
    names = [f"slow {n}" for n in range(60)]
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(run_notes, workspace, names, folder)
        late = in_time(lambda: notes(workspace) and cluster.add_node(num_cpus=1))
        in_time(lambda: any(late.node_id in note for note in notes(workspace)))
        assert not run.done()
        cluster.remove_node(late, allow_graceful=False)
        outcome = run.result()
    assert (outcome.computed, outcome.failures) == (60, ())
    assert len(begun(folder)) in (60, 61)


def in_time(happened: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for something to be, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
