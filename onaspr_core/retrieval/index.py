"""The caption index: the embedding of every caption whose clip is ready, kept up to date with the pools.

A caption is upserted when it or the pairs that it captions change, and deleted when the last of them is gone;
equal captions are embedded once, whatever pools they stand in. What does not belong here: which rows there
should be (`rows`), when withdrawn pairs must leave the files too (`forgetting`), the LanceDB tables
themselves (`table`, `vector_index`), the record of what they hold (`versions`), and what the prompts of an
experiment retrieve (`neighbours`).
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from onaspr_core.compute import Failure, Outcome, Preview, version_of
from onaspr_core.folders import explained
from onaspr_core.pool.leakage import leak_table, near_pairs
from onaspr_core.progress import track
from onaspr_core.repairs import one_at_a_time
from onaspr_core.retrieval.embedder import TextEmbedder, Vectors, embedder, unusable
from onaspr_core.retrieval.forgetting import due, note
from onaspr_core.retrieval.near_captions import look_for_near_captions
from onaspr_core.retrieval.rows import unlike, wanted_rows
from onaspr_core.retrieval.table import PAIR, CaptionTable, drop_others, tables_of
from onaspr_core.retrieval.vector_index import VectorIndex, keep_up, vector_index
from onaspr_core.retrieval.versions import CaptionState, caption_versions, store_states, table_versions
from onaspr_core.whole_files import told_where_there_is_no_room
from onaspr_core.workspace import Workspace

CAPTIONS_PER_WRITE = 8192
CAPTIONS_AT_ONCE = 1024
"""How many captions a worker of a cluster is sent together."""
LOOKS = 4
"""A pool is looked at until no caption leaves; one that comes back may say the same as another item, and all
come back when the model is another."""

SUMMED = ("rows_written", "rows_removed", "vector_index_seconds")
"""Facts that are summed over the looks; the others are those of the end."""


class _Pool(NamedTuple):
    """A pool: its table, the keys that it must hold, the rows to write, the keys to delete, its version.

    Rows to write have a column `stored`: whether their vectors are in the table. `leaving` are the ids of
    the pairs that the table holds and must not.
    """

    table: CaptionTable
    keys: pa.ChunkedArray
    write: pa.Table
    gone: list[str]
    version: str
    pairs: int
    leaving: list[str]


def embed_captions(workspace: Workspace) -> Outcome:
    """Bring the caption index up to the pools: embed new captions, move changed rows, delete gone ones.

    Items are distinct captions; the version moves with any pair (its id, rank, caption or clip) of the pools.
    Of two runs at once the second waits for the first, and finds its work done. Captions that say the same as
    a benchmark's are told, and leave the index of a pool that refuses them. One that the model gives no
    finite vector for is a failure, and not in the index.

    Raises:
        UserError: when manifest or clips have not been materialized, or the model cannot be loaded.
    """
    loaded, where = len(workspace.models.loaded), workspace.lance_path
    with told_where_there_is_no_room(where), explained(where), one_at_a_time(workspace, "caption tables"):
        rounds = [_bring_up(workspace)]
        while len(rounds) <= LOOKS and _look(workspace):
            rounds.append(_bring_up(workspace))
    near = near_pairs(workspace)
    last, embedded = rounds[-1], sum(one.computed for one in rounds)
    computed = min(embedded, last.total - len(last.failures))
    seconds = sum(one.seconds for one in rounds)
    summed = {name: sum(one.facts[name] for one in rounds) for name in SUMMED}
    return replace(
        last,
        computed=computed,
        reused=last.total - computed - len(last.failures),
        seconds=seconds,
        models=workspace.models.loaded[loaded:],
        facts={
            **last.facts,
            **summed,
            "captions_per_second": embedded / max(seconds, 1e-9),
            "benchmark_near_captions": len(near),
        },
        preview=Preview(markdown=leak_table(near)) if near else None,
    )


def _look(workspace: Workspace) -> set[str]:
    """The pools from which captions that a benchmark has come to be refused, or are not any more."""
    encoder = embedder(workspace)

    def blocks(pool: str) -> Iterator[tuple[Sequence[str], Vectors]]:
        table = CaptionTable(workspace.lance_path, encoder.fingerprint, pool)
        if table.lance is not None:
            texts = table.texts()
            captions = dict(zip(texts["_rowid"].to_pylist(), texts["caption"].to_pylist(), strict=True))
            for block in table.blocks():
                yield [captions[row] for row in block.row_ids.tolist()], block.vectors

    known = caption_versions(workspace, encoder.fingerprint)
    versions = {pool: known[pool] for pool in workspace.settings.pools if pool in known}
    return look_for_near_captions(workspace, encoder, blocks, versions)


def _bring_up(workspace: Workspace) -> Outcome:
    encoder = embedder(workspace)
    pools = [_look_at(workspace, encoder.fingerprint, pool) for pool in workspace.settings.pools]
    forget = due(workspace, [(pool.table, pool.leaving) for pool in pools])
    published = table_versions(workspace, encoder.fingerprint)
    started = time.monotonic()
    # All writes come before any deletion, and tables of pools that are gone are read: a caption that
    # moves to another pool takes its vector along.
    tables = {table.pool: table for table in tables_of(workspace.lance_path, encoder.fingerprint)}
    tables |= {pool.table.pool: pool.table for pool in pools}
    embedded, refused = 0, dict[str, None]()
    for number, pool in enumerate(pools):
        made, without = _write(workspace, pool, list(tables.values()), encoder)
        embedded, refused = embedded + made, refused | dict.fromkeys(without)
        if without:
            pools[number] = pool._replace(version=version_of([pool.version, *without]))
    written = time.monotonic()
    indices = {pool.table.pool: _finish(pool, forget, published) for pool in pools}
    kept_up = time.monotonic()
    store_states(workspace, [_state(pool, encoder) for pool in pools])
    drop_others(workspace.lance_path, [pool.table.name for pool in pools])
    for pool in pools:
        if pool.table.name in forget:
            pool.table.forget_past()
    note(workspace, forget)
    distinct = len(pa.chunked_array([c for pool in pools for c in pool.keys.chunks], pa.string()).unique())
    return Outcome(
        version=version_of(pool.version for pool in pools),
        total=distinct,
        computed=embedded,
        reused=distinct - embedded - len(refused),
        failures=tuple(
            Failure(caption, "embedding.model gives values that are not finite for it") for caption in refused
        ),
        seconds=written - started,
        facts={
            "pairs": sum(pool.pairs for pool in pools),
            "rows_written": sum(pool.write.num_rows for pool in pools),
            "rows_removed": sum(len(pool.gone) for pool in pools),
            "captions_per_second": embedded / max(written - started, 1e-9),
            "vector_index": {name: index.told if index else "none" for name, index in indices.items()},
            "vector_index_seconds": kept_up - written,
            "captions_indexed": sum(index.indexed for index in indices.values() if index),
            "captions_unindexed": sum(index.unindexed for index in indices.values() if index),
        },
    )


def _finish(pool: _Pool, forget: Collection[str], published: Mapping[str, int]) -> VectorIndex | None:
    """Delete what must go, and compact and index what stays; return the index, or None without one.

    Of a table that must forget, earlier states are left to be deleted when readers know the new one.
    """
    pool.table.delete(pool.gone)
    changed = bool(pool.write.num_rows or pool.gone)
    if pool.table.name not in forget:
        return keep_up(pool.table, changed, published.get(pool.table.pool))
    pool.table.rewrite()
    keep_up(pool.table, True, published.get(pool.table.pool))
    pool.table.settle()
    return vector_index(pool.table)


def _state(pool: _Pool, encoder: TextEmbedder) -> CaptionState:
    table_version = pool.table.lance.version if pool.table.lance is not None else 0
    return CaptionState(pool.table.pool, encoder.fingerprint, pool.version, pool.pairs, table_version)


def _look_at(workspace: Workspace, fingerprint: str, pool: str) -> _Pool:
    """Compare a pool as it is with its table."""
    table = CaptionTable(workspace.lance_path, fingerprint, pool)
    held = table.rows()
    wanted = wanted_rows(workspace, fingerprint, pool, held)
    write, gone = unlike(wanted, held)
    ours, theirs = _pair_ids(wanted), _pair_ids(held)
    leaving = theirs.filter(pc.invert(pc.is_in(theirs, value_set=ours))).to_pylist()
    return _Pool(table, wanted["key"], write, gone, _version(pool, wanted), len(ours), leaving)


def _pair_ids(rows: pa.Table) -> pa.Array:
    return rows["pairs"].combine_chunks().flatten().field("id")


def _version(pool: str, wanted: pa.Table) -> str:
    """The hash of a pool's name and its rows, which come by rank; a caption is told by its key."""
    pairs = wanted["pairs"].combine_chunks()
    fields = [pairs.flatten().field(field.name) for field in PAIR]
    digest = hashlib.sha256(json.dumps(pool).encode())
    for column in (wanted["key"], pc.list_value_length(pairs), *fields):
        digest.update(json.dumps(column.to_pylist()).encode())
    return digest.hexdigest()[:40]


def _write(
    workspace: Workspace, pool: _Pool, tables: Sequence[CaptionTable], encoder: TextEmbedder
) -> tuple[int, list[str]]:
    """Write a pool's new and changed rows.

    Returns:
        How many captions were embedded for it, and those that have no finite vector, which are not written.
    """
    embedded, refused = 0, list[str]()
    with track(f"caption embeddings of {pool.table.pool}", pool.write.num_rows) as advance:
        for start in range(0, pool.write.num_rows, CAPTIONS_PER_WRITE):
            rows = pool.write.slice(start, CAPTIONS_PER_WRITE)
            known = _known(rows, pool.table, tables)
            lacking = {
                key: caption
                for key, caption in zip(*(rows[name].to_pylist() for name in ("key", "caption")), strict=True)
                if key not in known
            }
            if lacking:
                encode = partial(_encode, encoder)
                known |= dict(
                    filter(None, workspace.engine.spread(encode, lacking.items(), CAPTIONS_AT_ONCE))
                )
            vectors = np.stack([known[key] for key in rows["key"].to_pylist()])
            without = unusable(rows["caption"].to_pylist(), vectors)
            if without:
                usable = np.isfinite(vectors).all(1)
                rows, vectors = rows.filter(pa.array(usable)), vectors[usable]
            if len(vectors):
                pool.table.upsert(rows, vectors)
            embedded, refused = embedded + len(lacking) - len(without), refused + without
            advance(rows.num_rows)
    return embedded, refused


def _encode(encoder: TextEmbedder, captions: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Vectors]]:
    """The vectors of captions, by their keys."""
    keys, texts = zip(*captions, strict=True)
    return zip(keys, encoder.encode(texts), strict=True)


def _known(rows: pa.Table, own: CaptionTable, tables: Sequence[CaptionTable]) -> dict[str, Vectors]:
    """The vectors of those captions that some table holds: by key, from the pool's own table first."""
    known = own.vectors(rows.filter(rows["stored"])["key"].to_pylist())
    for table in tables:
        if table is not own:
            known |= table.vectors([key for key in rows["key"].to_pylist() if key not in known])
    return known
