"""The caption index: an embedding for every pair whose clip is ready, kept up to date with the pools.

A row is upserted when its content changes and deleted when its pair is gone; equal captions are embedded
once, whatever pools they stand in. What does not belong here: the LanceDB table itself (`table`), and what
the prompts of an experiment retrieve (`neighbours`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import duckdb
import numpy as np

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.pool.manifest import largest_rank, pool_pairs
from onaspr_core.retrieval.embedder import TextEmbedder, Vectors, embedder
from onaspr_core.retrieval.search import cosine
from onaspr_core.retrieval.table import CaptionIndex, CaptionRow
from onaspr_core.workspace import Workspace

CAPTIONS_PER_WRITE = 2048

_VERSIONS = """create table if not exists caption_versions (
    pool text primary key, fingerprint text, version text, pairs bigint)"""


def embed_captions(workspace: Workspace) -> Outcome:
    """Bring the caption index up to the pools: embed new captions, move changed rows, delete gone ones.

    Items are distinct captions; the version moves with any row (pair, rank, caption, clip) of the index.

    Raises:
        UserError: when manifest or clips have not been materialized, or the model cannot be loaded.
    """
    encoder = embedder(workspace)
    index = CaptionIndex(workspace.lance_path, encoder.fingerprint)
    wanted = {row.row: row for row in _wanted(workspace, encoder.fingerprint)}
    before = {row.row: row for row in index.rows()}
    changed = [row for row in wanted.values() if before.get(row.row) != row]
    gone = before.keys() - wanted.keys()
    # Rows whose caption is known take its vector along before anything is overwritten or deleted.
    known = index.vectors(row.key for row in changed)
    moved = [row for row in changed if row.key in known]
    if moved:
        index.upsert(moved, np.stack([known[row.key] for row in moved]))
    by_key: dict[str, list[CaptionRow]] = {}
    for row in wanted.values():
        by_key.setdefault(row.key, []).append(row)
    loaded = len(workspace.models.loaded)
    outcome = run_items(
        "caption embeddings",
        [rows[0] for rows in by_key.values()],
        key=lambda row: row.key,
        name=lambda row: f"{row.pool}/{row.pair_id}",
        exists=lambda keys: {row.key for row in index.rows()}.intersection(keys),
        open_maker=_maker(index, encoder, by_key),
        batch_size=CAPTIONS_PER_WRITE,
    )
    index.delete(gone)
    if changed or gone:
        index.tidy()
    _store_versions(workspace, encoder.fingerprint, list(wanted.values()))
    return replace(
        outcome,
        version=_version(wanted.values()),
        models=workspace.models.loaded[loaded:],
        facts={"rows": len(wanted), "rows_changed": len(changed), "rows_removed": len(gone)},
    )


def caption_version(workspace: Workspace, pool: str, fingerprint: str) -> tuple[str, int]:
    """Return the version of a pool's rows in the index, and how many there are.

    Raises:
        UserError: when the captions have not been embedded with this model, or the pool is empty.
    """
    with workspace.catalog.read() as connection:
        try:
            row = connection.execute(
                "select version, pairs from caption_versions where pool = ? and fingerprint = ?",
                [pool, fingerprint],
            ).fetchone()
        except duckdb.CatalogException:
            row = None
    if row is None:
        raise UserError(f"the captions of pool {pool} are not embedded yet; materialize caption_embeddings")
    version, pairs = row
    if not pairs:
        raise UserError(
            f"pool {pool} is empty: none of its videos became a clip; look at the failures of pool_manifest "
            "and pool_clips, and at `path` and `videos` of the pool in the settings"
        )
    return str(version), int(pairs)


def search(
    workspace: Workspace, vector: Vectors, k: int, pool: str, size: int | None = None
) -> list[tuple[CaptionRow, float]]:
    """Find the k captions of a pool nearest to one vector, best first, with their cosine similarity.

    Ties go to the smaller rank: the index is asked for more until the last that it returns is out of reach.

    Args:
        workspace: Its captions must have been embedded.
        vector: float32 (d,), of length 1.
        k: How many; a smaller pool gives all it has.
        pool: The pool's name.
        size: Search only the pairs of the N smallest ranks; None is the whole pool.
    """
    index = CaptionIndex(workspace.lance_path, embedder(workspace).fingerprint)
    largest = largest_rank(workspace, pool, size) if size is not None else None
    margin = 2 * len(vector) * float(np.finfo(np.float32).eps)
    count = k + 8
    while True:
        block = index.closest(vector, count, pool, largest)
        scored = [(row, cosine(vector, other)) for row, other in zip(block.rows, block.vectors, strict=True)]
        best = sorted(scored, key=lambda hit: (-hit[1], hit[0].rank))[:k]
        if len(scored) < count or scored[-1][1] < best[-1][1] - margin:
            return best
        count *= 4


def _wanted(workspace: Workspace, fingerprint: str) -> Iterator[CaptionRow]:
    for pool in workspace.settings.pools:
        for pair in pool_pairs(workspace, pool):
            yield CaptionRow(
                row=content_key("caption-row", pool=pool, id=pair.id),
                pool=pool,
                pair_id=pair.id,
                rank=pair.rank,
                caption=pair.caption,
                key=content_key("caption", text=pair.caption, embedder=fingerprint),
                clip_key=pair.clip_key or "",
            )


def _maker(
    index: CaptionIndex, encoder: TextEmbedder, by_key: dict[str, list[CaptionRow]]
) -> Callable[[], AbstractContextManager[Callable[[Sequence[CaptionRow]], Iterable[Failure]]]]:
    def make(batch: Sequence[CaptionRow]) -> Iterable[Failure]:
        vectors = encoder.encode([row.caption for row in batch])
        pairs = [
            (row, vector) for first, vector in zip(batch, vectors, strict=True) for row in by_key[first.key]
        ]
        index.upsert([row for row, _ in pairs], np.stack([vector for _, vector in pairs]))
        return ()

    return lambda: nullcontext(make)


def _store_versions(workspace: Workspace, fingerprint: str, rows: Sequence[CaptionRow]) -> None:
    versions = []
    for pool in workspace.settings.pools:
        own = [row for row in rows if row.pool == pool]
        versions.append((pool, fingerprint, _version(own), len(own)))
    with workspace.catalog.read() as connection:
        try:
            before = connection.execute("select * from caption_versions").fetchall()
        except duckdb.CatalogException:
            before = []
    if set(before) != set(versions):
        with workspace.catalog.write() as connection:
            connection.execute(_VERSIONS)
            connection.execute("delete from caption_versions")
            connection.executemany("insert into caption_versions values (?, ?, ?, ?)", versions)


def _version(rows: Iterable[CaptionRow]) -> str:
    return version_of(f"{row.row} {row.rank} {row.key} {row.clip_key}" for row in rows)
