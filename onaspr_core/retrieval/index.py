"""The caption index: an embedding for every pair whose clip is ready, kept up to date with the pools.

A row is upserted when its content changes and deleted when its pair is gone; equal captions are embedded
once, whatever pools they stand in. What does not belong here: the LanceDB table itself (`table`), the record
of what it holds (`versions`), and what the prompts of an experiment retrieve (`neighbours`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, Preview, run_items, version_of
from onaspr_core.pool.leakage import leak_table, near_pairs
from onaspr_core.pool.manifest import pool_pairs
from onaspr_core.retrieval.embedder import TextEmbedder, Vectors, embedder
from onaspr_core.retrieval.near_captions import look_for_near_captions
from onaspr_core.retrieval.table import CaptionIndex, CaptionRow
from onaspr_core.retrieval.versions import caption_versions, store_versions
from onaspr_core.workspace import Workspace

CAPTIONS_PER_WRITE = 2048
LOOKS = 3
"""A pool is looked at until no caption leaves; one that comes back may say the same as another item."""


def embed_captions(workspace: Workspace) -> Outcome:
    """Bring the caption index up to the pools: embed new captions, move changed rows, delete gone ones.

    Items are distinct captions; the version moves with any row (pair, rank, caption, clip) of the index.
    Captions that say the same as a benchmark's are told, and leave the index of a pool that refuses them.

    Raises:
        UserError: when manifest or clips have not been materialized, or the model cannot be loaded.
    """
    loaded = len(workspace.models.loaded)
    outcome = _bring_up(workspace)
    computed = outcome.computed
    for _ in range(LOOKS):
        if not _look(workspace):
            break
        outcome = _bring_up(workspace)
        computed += outcome.computed
    near = near_pairs(workspace)
    computed = min(computed, outcome.computed + outcome.reused)
    return replace(
        outcome,
        computed=computed,
        reused=outcome.computed + outcome.reused - computed,
        models=workspace.models.loaded[loaded:],
        facts={**outcome.facts, "benchmark_near_captions": len(near)},
        preview=Preview(markdown=leak_table(near)) if near else None,
    )


def _look(workspace: Workspace) -> set[str]:
    """The pools from which captions that a benchmark has come to be refused, or are not any more."""
    encoder = embedder(workspace)
    index = CaptionIndex(workspace.lance_path, encoder.fingerprint)

    def blocks(pool: str) -> Iterator[tuple[Sequence[str], Vectors]]:
        for block in index.blocks(pool):
            yield [row.caption for row in block.rows], block.vectors

    versions = caption_versions(workspace, encoder.fingerprint)
    return look_for_near_captions(workspace, encoder, blocks, versions)


def _bring_up(workspace: Workspace) -> Outcome:
    encoder = embedder(workspace)
    index = CaptionIndex(workspace.lance_path, encoder.fingerprint)
    wanted = {row.row: row for row in wanted_rows(workspace, encoder.fingerprint)}
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
        facts={"rows": len(wanted), "rows_changed": len(changed), "rows_removed": len(gone)},
    )


def wanted_rows(workspace: Workspace, fingerprint: str) -> Iterator[CaptionRow]:
    """Yield the rows that the index should hold: one for every pair of every pool whose clip is ready.

    Raises:
        UserError: when manifest or clips have not been materialized.
    """
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
    store_versions(workspace, versions)


def _version(rows: Iterable[CaptionRow]) -> str:
    return version_of(f"{row.row} {row.rank} {row.key} {row.clip_key}" for row in rows)
