"""The tables of the manifest in the catalog: its pairs, what was withdrawn, and what a benchmark has too.

What does not belong here: which pairs there should be (`manifest`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core.pool.media import Media
from onaspr_core.workspace import Workspace

SCHEMA = pa.schema(
    [
        ("pool", pa.string()),
        ("pair_id", pa.string()),
        ("rank", pa.int64()),
        ("caption", pa.string()),
        ("path", pa.string()),
        ("member", pa.string()),
        ("start", pa.float64()),
        ("stop", pa.float64()),
        ("licence", pa.string()),
        ("source_sha256", pa.string()),
        ("clip_key", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("extra", pa.string()),
        ("key", pa.string()),
    ]
)
"""A row of the manifest. `status` is "present", or why the pair cannot be used, with the reason beside it."""

PAIR_COLUMNS = "pool, pair_id, caption, rank, path, member, start, stop, clip_key"

NEAR_CAPTIONS = """create table if not exists near_captions (
    pool text, caption text, benchmark text, item text, item_caption text, similarity double)"""
_WITHDRAWN = "create table if not exists withdrawn (pool text, pair_id text, clip_key text)"
_ADD_WITHDRAWN = """insert into withdrawn
    from (from fresh except from withdrawn) new where clip_key is not null
    or not exists (from withdrawn old where old.pool = new.pool and old.pair_id = new.pair_id)"""


@dataclass(frozen=True)
class Pair:
    """A captioned video of a pool; `clip_key` is None where its file or caption cannot be used."""

    pool: str
    id: str
    caption: str
    rank: int
    source: Media
    clip_key: str | None


def stored_manifest(workspace: Workspace) -> pa.Table | None:
    """Return all rows; None where there has never been a manifest, or only one of an earlier form."""
    with workspace.catalog.read() as connection:
        try:
            columns = ", ".join(SCHEMA.names)
            return connection.execute(f"select {columns} from manifest").to_arrow_table().cast(SCHEMA)
        except (duckdb.CatalogException, duckdb.BinderException):
            return None


def store_manifest(
    workspace: Workspace,
    rows: pa.Table,
    stamps: Mapping[str, tuple[str, Mapping[str, Any]]],
    withdrawn: Sequence[tuple[str, str, str | None]],
) -> None:
    """Put rows and stamps in the place of all that were there, and remember more withdrawn pairs.

    Args:
        workspace: Where.
        rows: Of `SCHEMA`.
        stamps: By pool, what its source was like when it was read, and what was counted then.
        withdrawn: Pool and id of each pair that was withdrawn, and the key of the clip that was made of it.
    """
    with workspace.catalog.write() as connection:
        connection.register("listed", rows)
        connection.execute("create or replace table manifest as select * from listed")
        connection.execute("create or replace table manifest_sources (pool text, stamp text, facts text)")
        for pool, (stamp, facts) in stamps.items():
            row = [pool, stamp, json.dumps(dict(facts))]
            connection.execute("insert into manifest_sources values (?, ?, ?)", row)
        connection.execute(_WITHDRAWN)
        connection.execute(NEAR_CAPTIONS)
        columns = zip(*withdrawn, strict=True) if withdrawn else [[], [], []]
        names = ("pool", "pair_id", "clip_key")
        arrays = {name: pa.array(list(own), pa.string()) for name, own in zip(names, columns, strict=True)}
        connection.register("fresh", pa.table(arrays))
        connection.execute(_ADD_WITHDRAWN)


def stored_stamps(workspace: Workspace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return by pool what its source was like when it was last read, and what was counted then."""
    rows = workspace.catalog.rows("select pool, stamp, facts from manifest_sources")
    return {pool: (stamp, json.loads(facts)) for pool, stamp, facts in rows or ()}


def withdrawn_pairs(workspace: Workspace) -> list[tuple[str, str, str | None]]:
    """Return pool, id and clip key of every pair that was ever withdrawn from a manifest."""
    rows = workspace.catalog.rows("select distinct pool, pair_id, clip_key from withdrawn order by all")
    return [(pool, pair_id, clip_key) for pool, pair_id, clip_key in rows or ()]


def live_clip_keys(workspace: Workspace) -> set[str]:
    """Return the keys of all clips that some pool has now."""
    rows = workspace.catalog.rows("select distinct clip_key from manifest where clip_key is not null")
    return {key for (key,) in rows or ()}


def pairs_where(workspace: Workspace, condition: str, values: Sequence[Any]) -> list[Pair] | None:
    """Return the pairs that meet a condition in SQL, by pool and rank; None where a table does not exist."""
    rows = workspace.catalog.rows(
        f"select {PAIR_COLUMNS} from manifest m where {condition} order by pool, rank, pair_id", values
    )
    return None if rows is None else [pair_of(row) for row in rows]


def pair_of(row: Sequence[Any]) -> Pair:
    """Return the pair that a row of `PAIR_COLUMNS` tells of."""
    pool, id_, caption, rank, path, member, start, stop, clip_key = row
    return Pair(pool, id_, caption, rank, Media(path, member, start, stop), clip_key)
