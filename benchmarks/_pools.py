"""Pools of captions without videos, for benchmarks: manifest and clips are made up, all else is real."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from onaspr_core.artifacts import content_key
from onaspr_core.pool.choice import pool_rank
from onaspr_core.pool.clip_catalog import enter_clips
from onaspr_core.pool.manifest_table import SCHEMA, store_manifest
from onaspr_core.pool.shards import Place
from onaspr_core.retrieval.embedder import Vectors, embedder
from onaspr_core.retrieval.table import ROW, CaptionTable
from onaspr_core.retrieval.vector_index import keep_up
from onaspr_core.retrieval.versions import CaptionState, store_states
from onaspr_core.settings import EmbeddingSettings, PoolSettings, Settings
from onaspr_core.workspace import Workspace

POOL = "captions"


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


def enter(workspace: Workspace, captions: Mapping[str, str]) -> None:
    """Make captions by id the pool: rows of the manifest and of clips, as if there were videos."""
    ids = list(captions)
    keys = [content_key("clip", id=id_) for id_ in ids]
    columns: dict[str, list[object]] = {name: [""] * len(ids) for name in SCHEMA.names}
    columns |= {"start": [None] * len(ids), "stop": [None] * len(ids), "pool": [POOL] * len(ids)}
    columns |= {"pair_id": [*ids], "caption": [*captions.values()], "clip_key": [*keys]}
    columns |= {"rank": [pool_rank(0, id_) for id_ in ids], "status": ["present"] * len(ids)}
    columns |= {"extra": ["{}"] * len(ids), "key": [*keys]}
    store_manifest(workspace, pa.Table.from_pydict(columns, SCHEMA), {}, [])
    enter_clips(workspace, [Place(key, "benchmark", 0, 0, {}) for key in keys], {})


def write(
    workspace: Workspace, captions: Sequence[str], vectors: Iterable[Vectors], version: str
) -> CaptionTable:
    """Write captions whose vectors are known, in slices, and bring the index up to them.

    A pool that is there in this version is left as it is.
    """
    encoder = embedder(workspace)
    held = workspace.catalog.rows("select version, table_version from caption_states where pool = ?", [POOL])
    if held and held[0][0] == version:
        return CaptionTable(workspace.lance_path, encoder.fingerprint, POOL, held[0][1])
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
    store_states(workspace, [CaptionState(POOL, encoder.fingerprint, version, first, table.lance.version)])
    return table
