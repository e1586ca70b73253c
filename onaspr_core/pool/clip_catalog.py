"""What the catalog knows of clips: which are ready and where they lie, which files cannot be read and why.

A shard is written first and entered here afterwards, so that nothing here points at a half-written one. What
does not belong here: making clips (`clips`) and the shards' form (`shards`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.pool.shards import Place, index_shard, list_shards, sweep_partials
from onaspr_core.progress import logger
from onaspr_core.workspace import Workspace

_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "status", "reason", "shard")]
    + [("start", pa.int64()), ("length", pa.int64()), ("made_from", pa.string())]
)
_CLIPS = """create table if not exists clips (
    key text primary key, status text, reason text, shard text,
    start bigint, length bigint, made_from text)"""
_SHARDS = "create table if not exists shards (name text primary key)"


@dataclass(frozen=True)
class ClipState:
    """A clip that was tried: `status` is "ready" or "failed", the latter with a reason."""

    status: str
    reason: str


def clip_states(workspace: Workspace) -> dict[str, ClipState]:
    """Return the state of every clip by key; one whose shard was deleted is as if it had never been made.

    Shards that a killed run finished, but did not live to enter, are entered first.
    """
    sweep_partials(workspace.shards_path)
    present = list_shards(workspace.shards_path)
    rows, shards = _read(workspace)
    if rows is None or present - shards:
        enter_clips(workspace, _found_in(workspace, sorted(present - shards)), {}, sorted(present - shards))
        rows, _ = _read(workspace)
    return {
        key: ClipState(status, reason)
        for key, status, reason, shard in rows or ()
        if not shard or shard in present
    }


def enter_clips(
    workspace: Workspace, places: Sequence[Place], failed: dict[str, str], shards: Iterable[str] = ()
) -> None:
    """Enter clips that lie in finished shards, and the reasons, by key, why others will never be made.

    Args:
        workspace: Where.
        places: The clips that are ready.
        failed: Reasons by clip key.
        shards: Further shards to remember as seen.
    """
    rows: list[dict[str, Any]] = [
        {
            "key": place.key,
            "status": "ready",
            "reason": "",
            "shard": place.shard,
            "start": place.offset,
            "length": place.length,
            "made_from": json.dumps(place.record, ensure_ascii=False),
        }
        for place in places
    ]
    rows += [{"key": key, "status": "failed", "reason": reason} for key, reason in failed.items()]
    names = sorted({place.shard for place in places}.union(shards))
    with workspace.catalog.write() as connection:
        connection.execute(_CLIPS)
        connection.execute(_SHARDS)
        connection.register("fresh_clips", pa.Table.from_pylist(rows, _SCHEMA))
        connection.execute("insert or replace into clips select * from fresh_clips")
        connection.register("fresh_shards", pa.table({"name": pa.array(names, pa.string())}))
        connection.execute("insert or ignore into shards select * from fresh_shards")


def clip_places(workspace: Workspace, keys: Sequence[str]) -> dict[str, Place]:
    """Return where clips lie, by key.

    Raises:
        UserError: when one of them does not exist.
    """
    rows = workspace.catalog.rows(
        "select key, shard, start, length, made_from from clips "
        "where status = 'ready' and list_contains(?, key)",
        [list(keys)],
    )
    places = {row[0]: Place(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in rows or ()}
    for key in keys:
        if key not in places:
            raise UserError(f"there is no clip {key}; materialize pool_clips")
    return places


def _read(workspace: Workspace) -> tuple[list[tuple[Any, ...]] | None, set[str]]:
    """The rows of all clips, None where there has never been a table, and the shards that were entered."""
    rows = workspace.catalog.rows("select key, status, reason, shard from clips")
    shards = workspace.catalog.rows("select name from shards")
    return (None, set()) if rows is None or shards is None else (rows, {name for (name,) in shards})


def _found_in(workspace: Workspace, shards: Iterable[str]) -> list[Place]:
    places: list[Place] = []
    for shard in shards:
        try:
            found = index_shard(workspace.shards_path, shard)
        except UserError as problem:
            logger.warning("%s; it is left alone", problem)
            continue
        logger.info("found %d finished clips in %s", len(found), shard)
        places += found
    return places
