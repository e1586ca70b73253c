"""Pools of captions without videos, for benchmarks: the pairs are made up, everything else is real."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Outcome
from onaspr_core.pool.manifest import pool_rank
from onaspr_core.retrieval import index, rows
from onaspr_core.retrieval.embedder import Vectors, embedder
from onaspr_core.retrieval.table import ROW, CaptionTable
from onaspr_core.retrieval.vector_index import keep_up
from onaspr_core.retrieval.versions import CaptionState, store_states
from onaspr_core.settings import EmbeddingSettings, PoolSettings, Settings
from onaspr_core.workspace import Workspace

POOL = "captions"


class MadeUpPair(NamedTuple):
    """What the caption index reads of a pair."""

    id: str
    caption: str
    rank: int
    clip_key: str


def workspace_at(root: Path, model: str) -> Workspace:
    """Return a workspace with one pool, whose stores lie under `root`."""
    settings = Settings(
        base=root,
        embedding=EmbeddingSettings(model=model),
        pools={POOL: PoolSettings(format="folder", path="none", videos="none")},
        backbones={},
        experiments={},
    )
    return Workspace(settings)


def made_up(captions: Mapping[str, str]) -> list[MadeUpPair]:
    """Return the pairs of a pool of these captions by id, by rank."""
    pairs = [
        MadeUpPair(id_, caption, pool_rank(0, id_), content_key("clip", id=id_))
        for id_, caption in captions.items()
    ]
    return sorted(pairs, key=lambda pair: pair.rank)


def embed(workspace: Workspace, pairs: Sequence[MadeUpPair]) -> Outcome:
    """Run `embed_captions` on a pool of these pairs."""
    setattr(rows, "pool_pairs", lambda workspace, pool: pairs)  # noqa: B010 (mypy knows its type)
    return index.embed_captions(workspace)


def write(workspace: Workspace, captions: Sequence[str], vectors: Iterable[Vectors]) -> CaptionTable:
    """Write captions whose vectors are known, in slices, and bring the index up to them."""
    encoder = embedder(workspace)
    table = CaptionTable(workspace.lance_path, encoder.fingerprint, POOL)
    first = 0
    for part in vectors:
        ids = [str(number) for number in range(first, first + len(part))]
        ranks = [pool_rank(0, id_) for id_ in ids]
        pairs = [[{"rank": rank, "id": id_, "clip": id_}] for rank, id_ in zip(ranks, ids, strict=True)]
        own = list(captions[first : first + len(part)])
        columns = {"key": ids, "caption": own, "rank": ranks, "pairs": pairs}
        table.upsert(pa.Table.from_pydict(columns, ROW), part)
        first += len(part)
    keep_up(table, changed=True)
    state = CaptionState(POOL, encoder.fingerprint, "benchmark", first, table.lance.version)
    store_states(workspace, [state])
    return table
