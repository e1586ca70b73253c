"""Leakage: pool items that a benchmark has too, which would make scores better than the method is.

Equal captions (apart from case and white space) and equal videos are found while the manifest is made;
captions that say the same in other words need embeddings, which `onaspr_core.retrieval.near_captions` has.
Of a pool that refuses them, `pool_pairs` leaves such captions out.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmark_lists import read_benchmark
from onaspr_core.markdown import table
from onaspr_core.pool.manifest_table import NEAR_CAPTIONS
from onaspr_core.pool.source_files import hash_media
from onaspr_core.progress import logger
from onaspr_core.settings import BenchmarkSettings
from onaspr_core.workspace import Workspace

NEAR = 0.98
"""From this cosine on two captions say the same."""

ITEMS_AT_ONCE = 4096
LEAKS_SHOWN = 20

_LEAKS = """create or replace table leaks (
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
    benchmarks: list[BenchmarkSettings] = []
    for experiment in settings.experiments.values():
        benchmark = experiment.evaluation.benchmark
        if experiment.pool == pool and benchmark is not None:
            at_one_pace = benchmark.model_copy(update={"fvd_stride": 1})
            if at_one_pace not in benchmarks:
                benchmarks.append(at_one_pace)
    items: list[BenchmarkItem] = []
    for benchmark in benchmarks:
        try:
            rows = read_benchmark(benchmark, settings.base).usable
        except UserError as problem:
            if settings.pools[pool].benchmark_items == "refuse":
                raise
            logger.warning("the pool %s is not compared with a benchmark: %s", pool, problem)
            continue
        hashes = hash_media(workspace, [row.media for row in rows])
        items += [BenchmarkItem(benchmark.path, row.id, row.caption, hashes.get(row.media)) for row in rows]
    return items


def near_captions(
    blocks: Iterable[tuple[Sequence[str], Vectors]], theirs: Vectors, threshold: float = NEAR
) -> Iterator[tuple[str, int, float]]:
    """Yield the captions that say the same as one of a benchmark's: caption, row of theirs, cosine.

    Args:
        blocks: Captions and vectors, float32 (n, d), rows of length 1; a block is held at a time, and its
            cosines with `ITEMS_AT_ONCE` rows of theirs.
        theirs: The benchmark's vectors, float32 (m, d), rows of length 1.
        threshold: The least cosine.
    """
    for captions, vectors in blocks:
        best = np.full(len(vectors), -np.inf, np.float32)
        nearest = np.zeros(len(vectors), np.int64)
        for first in range(0, len(theirs), ITEMS_AT_ONCE):
            cosines = vectors @ theirs[first : first + ITEMS_AT_ONCE].T
            here = cosines.argmax(axis=1)
            greatest = cosines[np.arange(len(vectors)), here]
            nearest = np.where(greatest > best, first + here, nearest)
            best = np.maximum(greatest, best)
        for row in np.flatnonzero(best >= threshold):
            yield captions[int(row)], int(nearest[row]), float(best[row])


def note_leaks(workspace: Workspace, leaks: Sequence[Leak]) -> None:
    """Put leaks of equal captions and videos in the place of all that were known."""
    if set(leaks) == set(noted_leaks(workspace)):
        return
    columns = zip(*leaks, strict=True) if leaks else [[]] * len(Leak._fields)
    with workspace.catalog.write() as connection:
        connection.execute(_LEAKS)
        if leaks:
            connection.register("found", pa.table(dict(zip(Leak._fields, columns, strict=True))))
            connection.execute("insert into leaks select * from found")


def noted_leaks(workspace: Workspace) -> list[Leak]:
    """Return the pairs whose caption or video a benchmark has too, by pool and id."""
    rows = workspace.catalog.rows(f"select {', '.join(Leak._fields)} from leaks order by all")
    return [Leak(*row) for row in rows or ()]


def note_near_captions(
    workspace: Workspace,
    pool: str,
    blocks: Iterable[tuple[Sequence[str], Vectors]],
    items: Sequence[BenchmarkItem],
    theirs: Vectors | None,
    keep: bool = True,
) -> bool:
    """Remember which captions of a pool say the same as a benchmark's; return whether any came or went.

    A caption that is not among those that are looked at, because it was refused before, stays what it was as
    long as the benchmark has its item.

    Args:
        workspace: Where.
        pool: Whose captions.
        blocks: Its captions and their vectors, as `near_captions` takes them.
        items: What `benchmark_items` returned.
        theirs: Vectors of their captions, float32 (items, d), rows of length 1; None without items.
        keep: Whether what was refused before stays so; False where another model or cosine told.
    """
    seen: set[str] = set()

    def looked_at() -> Iterator[tuple[Sequence[str], Vectors]]:
        for captions, vectors in blocks:
            seen.update(captions)
            yield captions, vectors

    found = {
        caption: (items[row].benchmark, items[row].id, items[row].caption, similarity)
        for caption, row, similarity in (near_captions(looked_at(), theirs) if theirs is not None else ())
    }
    rows = workspace.catalog.rows(
        "select caption, benchmark, item, item_caption, similarity from near_captions where pool = ?", [pool]
    )
    before = {caption: tuple(told) for caption, *told in rows or ()}
    known = {(one.benchmark, one.id, one.caption) for one in items}
    unseen = {caption: told for caption, told in before.items() if keep and caption not in seen}
    kept = {caption: told for caption, told in unseen.items() if told[:3] in known}
    after = {**kept, **found}
    if after == before:
        return False
    with workspace.catalog.write() as connection:
        connection.execute(NEAR_CAPTIONS)
        connection.execute("delete from near_captions where pool = ?", [pool])
        if after:
            connection.executemany(
                "insert into near_captions values (?, ?, ?, ?, ?, ?)",
                [[pool, caption, *told] for caption, told in after.items()],
            )
    return after.keys() != before.keys()


def forget_vanished(workspace: Workspace) -> None:
    """Forget near captions that the manifest has no more, as those of withdrawn pairs."""
    gone = "from near_captions anti join manifest using (pool, caption)"
    if workspace.catalog.rows(f"select caption {gone} limit 1"):
        with workspace.catalog.write() as connection:
            connection.execute(
                "delete from near_captions n where not exists "
                "(from manifest m where m.pool = n.pool and m.caption = n.caption)"
            )


def near_pairs(workspace: Workspace) -> list[Leak]:
    """Return the pairs whose captions say the same as a benchmark's, by pool and id."""
    rows = workspace.catalog.rows(
        "select pool, pair_id, 'near caption', benchmark, item, similarity "
        "from near_captions join manifest using (pool, caption) where status = 'present' order by all"
    )
    return [Leak(*row) for row in rows or ()]


def leak_table(leaks: Sequence[Leak]) -> str:
    """Show the first leaks as a Markdown table; empty where there are none."""
    shown = [(*leak[:5], f"{leak.similarity:.3f}") for leak in leaks[:LEAKS_SHOWN]]
    return table(("pool", "pair", "what is the same", "benchmark", "item", "cosine"), shown) if shown else ""
