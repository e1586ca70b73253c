"""What the catalog knows of clips: which are ready and where they lie, which files cannot be read and why.

A shard is written first and entered here afterwards, so that nothing here points at a half-written one; and
what pointed at a shard points elsewhere before it is deleted. What does not belong here: making clips
(`clips`), the shards' form (`shards`), and which shards are worth rewriting (`compaction`).
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.pool.shards import Place, index_shard, list_shards, sweep_partials
from onaspr_core.progress import logger
from onaspr_core.workspace import Workspace

MOST_TRIES = 3
"""How many runs may lose a process to one file before it is left alone."""

_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "status", "reason", "shard")]
    + [("start", pa.int64()), ("length", pa.int64()), ("made_from", pa.string())]
)
_TABLES = (
    """create table if not exists clips (
        key text primary key, status text, reason text, shard text,
        start bigint, length bigint, made_from text, tries integer)""",
    "alter table clips add column if not exists tries integer",
    "create table if not exists shards (name text primary key)",
    # Shards that nothing points at any more, until their files are gone.
    "create table if not exists dropped_shards (name text primary key)",
)


@dataclass(frozen=True)
class ClipState:
    """A clip that was tried: `status` is "ready" or "failed", the latter with a reason."""

    status: str
    reason: str


@dataclass(frozen=True)
class ShardUse:
    """What a shard's bytes are for: clips that are wanted, clips that are not, clips that must go."""

    name: str
    live_bytes: int
    dead_bytes: int
    withdrawn: bool


def clip_states(workspace: Workspace) -> dict[str, ClipState]:
    """Return the state of every clip by key; one whose shard was deleted is as if it had never been made.

    Shards that a killed run finished, but did not live to enter, are entered first.
    """
    sweep_partials(workspace.shards_path)
    present = list_shards(workspace.shards_path)
    rows, shards = _read(workspace)
    # Meanwhile another run may have moved clips into shards of its own.
    present |= list_shards(workspace.shards_path)
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

    A reason does not replace a clip that is there: another run may have made it.

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
    names = sorted({place.shard for place in places}.union(shards))
    with workspace.catalog.write() as connection:
        _create(connection)
        kept = _there(connection, workspace, failed)
        rows += [
            {"key": key, "status": "failed", "reason": reason}
            for key, reason in failed.items()
            if key not in kept
        ]
        connection.register("fresh_clips", pa.Table.from_pylist(rows, _SCHEMA))
        displaced = connection.execute(
            "select distinct shard from clips semi join fresh_clips using (key) where shard is not null"
        ).fetchall()
        connection.execute("insert or replace into clips by name select * from fresh_clips")
        connection.register("fresh_shards", _names(names))
        connection.execute("insert or ignore into shards select * from fresh_shards")
        connection.execute("delete from dropped_shards where name in (from fresh_shards)")
        _drop_empty(connection, [name for (name,) in displaced])


def enter_suspects(workspace: Workspace, reasons: Mapping[str, str]) -> None:
    """Count, by clip key, a file over which a process was lost; after `MOST_TRIES` it counts as failed.

    A clip that is there stays: another run may have made it.
    """
    if not reasons:
        return
    with workspace.catalog.write() as connection:
        _create(connection)
        kept = _there(connection, workspace, reasons)
        if kept.issuperset(reasons):
            return
        connection.executemany(
            "insert into clips (key, status, reason, tries) values (?, 'suspect', ?, 1) "
            "on conflict (key) do update set reason = excluded.reason, shard = null, "
            "tries = coalesce(tries, 0) + 1, "
            f"status = case when coalesce(tries, 0) + 1 < {MOST_TRIES} then 'suspect' else 'failed' end",
            [[key, reason] for key, reason in reasons.items() if key not in kept],
        )


def forget_clip(workspace: Workspace, place: Place) -> None:
    """Enter that the bytes at a place are not those of its clip, so that the clip is made again.

    One that lies elsewhere by now is left alone.
    """
    workspace.store.damaged.add(("clip", place.key))
    with workspace.catalog.write() as connection:
        connection.execute(
            "update clips set status = 'damaged' where key = ? and shard = ? and start = ?",
            [place.key, place.shard, place.offset],
        )


def lost_clips(workspace: Workspace) -> set[str]:
    """Return the clips that had been made and are damaged, or lay in a shard that is gone."""
    present = list_shards(workspace.shards_path)
    rows = workspace.catalog.rows("select key, status, shard from clips where status in ('ready', 'damaged')")
    return {key for key, status, shard in rows or () if status == "damaged" or shard not in present}


def used_shards(workspace: Workspace) -> set[str]:
    """Return the names of the shards in which clips are said to lie."""
    rows = workspace.catalog.rows("select distinct shard from clips where status = 'ready'")
    return {shard for (shard,) in rows or ()}


def lose_shards(workspace: Workspace, shards: Collection[str]) -> None:
    """Have the clips of shards that are gone made again."""
    with workspace.catalog.write() as connection:
        _create(connection)
        connection.register("gone", _names(shards))
        connection.execute(
            "update clips set status = 'damaged' where status = 'ready' and shard in (from gone)"
        )


def clip_places(workspace: Workspace, keys: Sequence[str]) -> dict[str, Place]:
    """Return where clips lie, by key.

    Raises:
        UserError: when one of them does not exist.
    """
    places = known_places(workspace, keys)
    for key in keys:
        if key not in places:
            raise no_clip(key)
    return places


def no_clip(key: str) -> UserError:
    """Return the error of a clip that does not exist."""
    return UserError(f"there is no clip {key}; materialize pool_clips")


def known_places(workspace: Workspace, keys: Sequence[str]) -> dict[str, Place]:
    """Return where those of these clips lie that exist, by key."""
    rows = workspace.catalog.rows(
        "select key, shard, start, length, made_from from clips "
        "where status = 'ready' and key in (select unnest(?::text[]))",
        [list(keys)],
    )
    return {row[0]: Place(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in rows or ()}


def shard_uses(workspace: Workspace, wanted: Collection[str], withdrawn: Collection[str]) -> list[ShardUse]:
    """Return what each shard is used for, by name.

    Args:
        workspace: Its clips must have been entered.
        wanted: Keys of the clips that some pool needs.
        withdrawn: Keys of clips that must not be kept; those that are wanted all the same are.
    """
    with workspace.catalog.read() as connection:
        connection.register("wanted", _names(wanted))
        connection.register("withdrawn", _names(withdrawn))
        rows = connection.execute(
            "select shard, coalesce(sum(length) filter (key in (from wanted)), 0)::bigint, "
            "coalesce(sum(length) filter (key not in (from wanted)), 0)::bigint, "
            "bool_or(key in (from withdrawn) and key not in (from wanted)) "
            "from clips where status = 'ready' group by shard order by shard"
        ).fetchall()
    return [ShardUse(*row) for row in rows]


def move_clips(workspace: Workspace, places: Sequence[Place], shards: Collection[str]) -> None:
    """Point clips that lie in any of `shards` at their copies in a finished shard; drop what that empties."""
    moved = pa.table(
        {
            "key": [place.key for place in places],
            "shard": [place.shard for place in places],
            "start": [place.offset for place in places],
            "length": [place.length for place in places],
        }
    )
    with workspace.catalog.write() as connection:
        connection.register("moved", moved)
        connection.register("fresh_shards", _names({place.shard for place in places}))
        connection.register("chosen", _names(shards))
        connection.execute(
            "update clips set shard = moved.shard, start = moved.start, length = moved.length from moved "
            "where clips.key = moved.key and clips.shard in (from chosen)"
        )
        connection.execute("insert or ignore into shards select * from fresh_shards")
        connection.execute("delete from dropped_shards where name in (from fresh_shards)")
        # A fresh one is empty where another run had moved the clips first.
        _drop_empty(connection, {*shards, *(place.shard for place in places)})


def clips_in(workspace: Workspace, shards: Collection[str]) -> dict[str, str]:
    """Return the clips that lie in any of `shards`: shard by key."""
    with workspace.catalog.read() as connection:
        connection.register("chosen", _names(shards))
        return dict(
            connection.execute("select key, shard from clips where shard in (from chosen)").fetchall()
        )


def drop_clips(workspace: Workspace, keys: Collection[str], shards: Collection[str]) -> None:
    """Forget clips, and drop those of `shards` that nothing points at any more."""
    with workspace.catalog.write() as connection:
        connection.register("gone", _names(keys))
        connection.register("chosen", _names(shards))
        connection.execute("delete from clips where shard in (from chosen) and key in (from gone)")
        _drop_empty(connection, shards)


def dropped_shards(workspace: Workspace) -> list[str]:
    """Return the shards whose files may be deleted, because nothing points at them."""
    rows = workspace.catalog.rows("select name from dropped_shards order by name")
    return [name for (name,) in rows or ()]


def forget_shards(workspace: Workspace, shards: Collection[str]) -> None:
    """Forget shards whose files are gone."""
    with workspace.catalog.write() as connection:
        connection.register("gone", _names(shards))
        connection.execute("delete from shards where name in (from gone)")
        connection.execute("delete from dropped_shards where name in (from gone)")


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    for statement in _TABLES:
        connection.execute(statement)


def _there(connection: duckdb.DuckDBPyConnection, workspace: Workspace, keys: Collection[str]) -> set[str]:
    """Those of the keys whose clips are ready, in shards that exist."""
    if not keys:
        return set()
    connection.register("tried", _names(keys))
    connection.register("present_shards", _names(list_shards(workspace.shards_path)))
    query = (
        "select key from clips where status = 'ready' and key in (from tried) "
        "and shard in (from present_shards)"
    )
    return {key for (key,) in connection.execute(query).fetchall()}


def _drop_empty(connection: duckdb.DuckDBPyConnection, shards: Collection[str]) -> None:
    """Drop those of the shards to which nothing points any more."""
    connection.register("emptied", _names(shards))
    connection.execute(
        "insert or ignore into dropped_shards from emptied "
        "where name not in (select shard from clips where shard is not null)"
    )


def _names(names: Collection[str]) -> pa.Table:
    return pa.table({"name": pa.array(list(names), pa.string())})


def _read(workspace: Workspace) -> tuple[list[tuple[Any, ...]] | None, set[str]]:
    """The rows of all clips, None where there has never been a table, and the shards that were entered."""
    rows = workspace.catalog.rows(
        "select key, status, reason, shard from clips where status in ('ready', 'failed')"
    )
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
