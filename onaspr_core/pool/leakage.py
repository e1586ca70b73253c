"""Leakage: pool items that a benchmark has too, which would make scores better than the method is.

Equal captions (apart from case and white space) and equal videos are found while the manifest is made;
captions that only mean the same need embeddings, which whoever has them passes to `note_near_captions`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.pool.source_files import hash_media
from onaspr_core.pool.sources import read_source
from onaspr_core.progress import logger
from onaspr_core.settings import BenchmarkSettings
from onaspr_core.workspace import Workspace

NEAR = 0.98
"""From this cosine on two captions say the same."""

_LEAKS = """create table if not exists leaks (
    pool text, pair_id text, kind text, benchmark text, item text, similarity double)"""

Vectors = npt.NDArray[np.float32]


class BenchmarkItem(NamedTuple):
    """A captioned video of a benchmark; `sha256` is None where the file is missing."""

    benchmark: str
    id: str
    caption: str
    sha256: str | None


class Leak(NamedTuple):
    """A pair that a benchmark has too: `kind` is "caption", "video" or "near caption", with its cosine."""

    pool: str
    pair_id: str
    kind: str
    benchmark: str
    item: str
    similarity: float = 1.0


def benchmark_items(workspace: Workspace, pool: str) -> list[BenchmarkItem]:
    """Return the items of the benchmarks of all experiments that borrow from a pool.

    Raises:
        UserError: when a list cannot be read and the pool refuses what stands in it.
    """
    settings = workspace.settings
    benchmarks: dict[str, BenchmarkSettings] = {}
    for experiment in settings.experiments.values():
        if experiment.pool == pool and experiment.evaluation.benchmark is not None:
            benchmarks.setdefault(experiment.evaluation.benchmark.path, experiment.evaluation.benchmark)
    items: list[BenchmarkItem] = []
    for path, benchmark in benchmarks.items():
        try:
            rows = [row for row in read_source(benchmark, settings.base) if not row.problem]
        except UserError as problem:
            if settings.pools[pool].benchmark_items == "refuse":
                raise
            logger.warning("the pool %s is not compared with a benchmark: %s", pool, problem)
            continue
        hashes = hash_media(workspace, [row.media for row in rows])
        items += [BenchmarkItem(path, row.id, row.caption, hashes.get(row.media)) for row in rows]
    return items


def near_captions(
    blocks: Iterable[tuple[Sequence[str], Vectors]], theirs: Vectors, threshold: float = NEAR
) -> Iterator[tuple[str, int, float]]:
    """Yield the captions that mean the same as one of a benchmark's: pair id, its row, their cosine.

    Args:
        blocks: Pair ids and vectors, float32 (n, d), rows of length 1; a block is held at a time.
        theirs: The benchmark's vectors, float32 (m, d), rows of length 1.
        threshold: The least cosine.
    """
    for ids, vectors in blocks if len(theirs) else ():
        cosines = vectors @ theirs.T
        nearest = cosines.argmax(axis=1)
        best = cosines[np.arange(len(vectors)), nearest]
        for row in np.flatnonzero(best >= threshold):
            yield ids[int(row)], int(nearest[row]), float(best[row])


def store_leaks(workspace: Workspace, kinds: Sequence[str], leaks: Sequence[Leak]) -> None:
    """Put leaks in the place of all of these kinds."""
    if leaks or leaked_pairs(workspace, kinds):
        columns = zip(*leaks, strict=True) if leaks else [[]] * len(Leak._fields)
        with workspace.catalog.write() as connection:
            connection.execute(_LEAKS)
            connection.execute("delete from leaks where list_contains(?, kind)", [list(kinds)])
            if leaks:
                connection.register("found", pa.table(dict(zip(Leak._fields, columns, strict=True))))
                connection.execute("insert into leaks select * from found")


def leaked_pairs(workspace: Workspace, kinds: Sequence[str]) -> list[Leak]:
    """Return the pairs that a benchmark has too, by pool and id."""
    rows = workspace.catalog.rows(
        "select pool, pair_id, kind, benchmark, item, similarity from leaks where list_contains(?, kind) "
        "order by all",
        [list(kinds)],
    )
    return [Leak(*row) for row in rows or ()]


def note_near_captions(
    workspace: Workspace,
    pool: str,
    blocks: Iterable[tuple[Sequence[str], Vectors]],
    items: Sequence[BenchmarkItem],
    theirs: Vectors,
) -> list[Leak]:
    """Find and remember the pairs of a pool whose captions mean the same as a benchmark's.

    Args:
        workspace: Where.
        pool: Whose pairs.
        blocks: Ids and vectors of its pairs, as `near_captions` takes them.
        items: What `benchmark_items` returned.
        theirs: Vectors of their captions, float32 (items, d), rows of length 1.
    """
    others = [leak for leak in leaked_pairs(workspace, ["near caption"]) if leak.pool != pool]
    found = [
        Leak(pool, pair_id, "near caption", items[row].benchmark, items[row].id, similarity)
        for pair_id, row, similarity in near_captions(blocks, theirs)
    ]
    store_leaks(workspace, ["near caption"], [*others, *found])
    return found
