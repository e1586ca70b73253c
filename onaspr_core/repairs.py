"""Running a stage: one run of it at a time on a machine, and again while it finds items that are damaged."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.progress import logger
from onaspr_core.workspace import Workspace

MOST_RUNS = 20
"""A store in which a stage finds damage more often than that is one to look at first."""


@contextmanager
def one_at_a_time(workspace: Workspace, name: str) -> Iterator[None]:
    """Hold the lock of a stage, so that of two runs at once the second finds the work of the first done.

    A process that ends, however it ends, lets go of it.
    """
    folder = workspace.catalog.path.parent / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{content_key('stage', name=name)}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another run is at it; waiting for it to end", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_stage(workspace: Workspace, stage: Callable[[Workspace], Outcome]) -> Outcome:
    """Run a stage, and again while it finds damaged items: those that are its own are then made again.

    What is computed is summed over the runs; the rest of the outcome is that of the last.

    Raises:
        UserError: as the stage, and when damage is found in every one of `MOST_RUNS` runs.
    """
    store = workspace.store
    repaired, computed, seconds = store.repaired, 0, 0.0
    models: dict[str, None] = {}
    for _ in range(MOST_RUNS):
        known = set(store.damaged)
        outcome: Outcome | None = None
        try:
            outcome = stage(workspace)
        except UserError:
            if store.damaged == known:
                raise
        fresh = store.damaged - known
        if outcome is not None:
            computed, seconds = computed + outcome.computed, seconds + outcome.seconds
            models |= dict.fromkeys(outcome.models)
            if all(store.has(kind, key) for kind, key in fresh):
                there = outcome.computed + outcome.reused
                return replace(
                    outcome,
                    computed=min(computed, there),
                    reused=there - min(computed, there),
                    seconds=seconds,
                    models=tuple(models),
                    repaired=outcome.repaired + store.repaired - repaired,
                )
        logger.warning("found %d damaged items; looking again", len(fresh))
    raise UserError(
        f"the store {store.place} has damage in many places; see it whole with "
        "`python -m onaspr_core.artifacts verify`, which with --remove sets all of it aside"
    )
