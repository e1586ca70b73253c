"""Turns on the GPU: no more steps of a pool at once than the pool allows, even on SQLite.

Dagster's pools make steps wait and show who waits. On SQLite, where no row can be locked, two steps that ask
for the last slot within a millisecond may both get it. So a step also holds a lock on a file of the Dagster
instance, one file for each slot. A process that ends, however it ends, lets go of its lock.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from filelock import FileLock, Timeout

SECONDS_BETWEEN_TRIES = 0.2
TAKEN = "has its turn on the pool"
GIVEN_BACK = "gives its turn on the pool back"


@contextmanager
def turn(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Hold one of the slots of a step's pool, if it has a pool, and the pool a limit."""
    pool = context.op_def.pool
    limit = slots(context.instance, pool) if pool else None
    if pool is None or limit is None:
        yield
        return
    with one_of(pool, limit, Path(context.instance.root_directory)):
        context.log.debug(f"{context.asset_key.to_user_string()} {TAKEN} {pool}")
        yield
        context.log.debug(f"{context.asset_key.to_user_string()} {GIVEN_BACK} {pool}")


def slots(instance: dg.DagsterInstance, pool: str) -> int | None:
    """Return how many steps of a pool may go on at once; None for any number, or if Dagster keeps to it."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return None
    own = {one.name: one.limit for one in storage.get_pool_limits()}
    return own.get(pool, storage.get_pool_config().default_pool_limit)


@contextmanager
def one_of(pool: str, limit: int, folder: Path) -> Iterator[None]:
    """Hold one of as many locks as a pool has slots, and wait until one is free."""
    locks = [FileLock(folder / f"{pool}-{number}.lock") for number in range(max(limit, 1))]
    while not (held := next((lock for lock in locks if _taken(lock)), None)):
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        held.release()


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
