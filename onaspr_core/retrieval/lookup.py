"""The captioned clips nearest to a prompt: exact for sets of prompts, by way of the index for single ones.

Both rank by exact similarity and give ties to the smaller rank, in the whole pool or in what it would be at a
smaller size. What does not belong here: what an experiment's prompts retrieve (`neighbours`).
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb import connect_async
from lancedb.background_loop import LOOP
from lancedb.expr import col, lit

from onaspr_core.errors import UserError
from onaspr_core.retrieval.embedder import Vectors, embedder, unusable
from onaspr_core.retrieval.exact import Ranks, nearest_to
from onaspr_core.retrieval.nearest import Neighbour, neighbours
from onaspr_core.retrieval.resident import Resident, first_pairs
from onaspr_core.retrieval.table import ROW, CaptionTable, matrix
from onaspr_core.retrieval.vector_index import PAYS_FROM, vector_index
from onaspr_core.retrieval.versions import caption_state
from onaspr_core.workspace import Workspace

RESIDENT_BYTES = 2 << 30
"""Vectors of a pool up to this size are kept in memory: 1.4 million captions of 384 dimensions."""

LEAST_CANDIDATES = 24
"""So many are scored exactly for every k up to 6, so that a check that leaves out one of six asks what a user
of five does."""


def nearest_pairs(
    table: CaptionTable,
    queries: Vectors,
    k: int,
    size: int | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> list[tuple[Neighbour, ...]]:
    """Return the k pairs nearest to each query, exactly, in one pass over the table.

    Args:
        table: The pool's.
        queries: float32 (queries, d), rows of length 1.
        k: How many; where the pool holds fewer, all of them are returned.
        size: Searches the pool as it would be with so many pairs.
        advance: Told how many captions were looked at, block by block.
    """
    from onaspr_core.retrieval.search import nearest

    greatest_rank = None if size is None else _greatest_rank(table.pair_ranks(), size)
    row_ids = []

    def blocks() -> Iterator[tuple[Ranks, Vectors]]:
        for block in table.blocks(greatest_rank):
            row_ids.append(block.row_ids)
            yield block.ranks, block.vectors
            advance(len(block.ranks))

    found = nearest(queries, blocks(), k)
    numbers = np.unique([hit.row for hits in found for hit in hits])
    if not len(numbers):
        return [() for _ in queries]
    number_of = dict(zip(np.concatenate(row_ids)[numbers].tolist(), numbers.tolist(), strict=True))
    taken = first_pairs(table.take(list(number_of)), k).to_pylist()
    rows = {number_of[row["_rowid"]]: row for row in taken}
    return [neighbours(hits, rows, k, greatest_rank) for hits in found]


class CaptionSearch:
    """A pool's captions as they were when this was opened, ready for single prompts."""

    def __init__(self, workspace: Workspace, pool: str, in_memory: bool = True) -> None:
        """Open a pool: its index, and its captions.

        Args:
            workspace: Where to look.
            pool: The pool's name.
            in_memory: Reads the captions into memory where they fit, which pays from a few prompts on.

        Raises:
            UserError: when there is no such pool, or its captions have not been embedded with this model.
        """
        if pool not in workspace.settings.pools:
            known = ", ".join(workspace.settings.pools) or "none is defined"
            raise UserError(f"there is no pool {pool!r} in the settings; allowed: {known}")
        self._encoder = embedder(workspace)
        state = caption_state(workspace, pool, self._encoder.fingerprint)
        self.table = CaptionTable(workspace.lance_path, state.fingerprint, pool, state.table_version)
        self.index = vector_index(self.table)
        bytes_ = self.table.lance.count_rows() * self.table.dimensions * 4
        self._resident = Resident(self.table) if in_memory and bytes_ <= RESIDENT_BYTES else None
        # LanceDB's synchronous interface would take twice as long for a query of the index.
        self._lance = LOOP.run(_opened(self.table, state.table_version)) if self.index else None

    def search(
        self, prompt: str, k: int = 5, size: int | None = None, exact: bool = False
    ) -> tuple[Neighbour, ...]:
        """Return the k pairs nearest to a prompt, best first, ties to the smaller rank.

        Args:
            prompt: Any text.
            k: How many; where the pool holds fewer, all of them are returned.
            size: Searches the pool as it would be with so many pairs.
            exact: Scores all captions; otherwise those that the index names, where there is one.

        Raises:
            UserError: when the model cannot be loaded or gives values that are not finite, or k or size is
                less than 1.
        """
        vectors = self._encoder.encode([prompt])
        if unusable([prompt], vectors):
            raise UserError(f"embedding.model gives values that are not finite for {prompt!r}; reword it")
        return self.nearest(vectors[0], k, size, exact)

    def nearest(
        self, query: Vectors, k: int = 5, size: int | None = None, exact: bool = False
    ) -> tuple[Neighbour, ...]:
        """Return what `search` does, for a prompt's embedding: float32 (d,), of length 1."""
        if k < 1:
            raise UserError(f"{k} neighbours were asked for; ask for at least 1")
        greatest_rank = None if size is None else _greatest_rank(self._pair_ranks, size)
        small = greatest_rank is not None and size is not None and size <= PAYS_FROM
        if exact or small or self._lance is None:
            return self._exact(query, k, size, greatest_rank)
        candidates = max(LEAST_CANDIDATES, 4 * k)
        found = LOOP.run(self._candidates(query, candidates, size, greatest_rank))
        if self._resident is not None:
            at = self._resident.positions(found["_rowid"].to_numpy())
            ranks, vectors = self._resident.ranks[at], self._resident.vectors[at]
        else:
            at = np.arange(len(found))
            ranks, vectors = found["rank"].to_numpy(), matrix(found["vector"])
        hits = nearest_to(query, ranks, vectors, candidates)
        # Where the next candidate ties with the k-th, captions that the index left out may tie too.
        if len(hits) < candidates or hits[k].similarity == hits[k - 1].similarity:
            return self._exact(query, k, size, greatest_rank)
        best = [hit._replace(row=int(at[hit.row])) for hit in hits[:k]]
        numbers = [hit.row for hit in best]
        if self._resident is not None:
            rows = self._resident.rows(numbers, k)
        else:
            rows = dict(zip(numbers, first_pairs(found.take(pa.array(numbers)), k).to_pylist(), strict=True))
        return neighbours(best, rows, k, greatest_rank)

    @cached_property
    def _pair_ranks(self) -> Ranks:
        return self.table.pair_ranks()

    def _exact(
        self, query: Vectors, k: int, size: int | None, greatest_rank: int | None
    ) -> tuple[Neighbour, ...]:
        if self._resident is None:
            return nearest_pairs(self.table, query[None], k, size)[0]
        ranks, vectors = self._resident.ranks, self._resident.vectors
        if greatest_rank is not None:
            held = int(np.searchsorted(ranks, greatest_rank, side="right"))
            ranks, vectors = ranks[:held], vectors[:held]
        hits = nearest_to(query, ranks, vectors, k)
        return neighbours(hits, self._resident.rows([hit.row for hit in hits], k), k, greatest_rank)

    async def _candidates(
        self, query: Vectors, count: int, size: int | None, greatest_rank: int | None
    ) -> pa.Table:
        """The rows that the index thinks nearest; with vectors and texts where they are not in memory."""
        assert self.index is not None and self._lance is not None
        probes = self.index.probes
        asked = self._lance.query().nearest_to(query).distance_type("dot").limit(count)
        if greatest_rank is not None and size is not None:
            # Of fewer captions the nearest are further away: the search looks further.
            probes = int(probes * (len(self._pair_ranks) / size) ** 0.5)
            asked = asked.where(col("rank") <= lit(greatest_rank))
        # LanceDB warns at every search that does not ask for `_distance`.
        columns = ["_rowid", "_distance"]
        if self._resident is None:
            columns += [*ROW.names, "vector"]
        return await asked.nprobes(probes).select(columns).to_arrow()


async def _opened(table: CaptionTable, version: int) -> Any:
    """A state of the table in LanceDB's asynchronous interface."""
    connection = await connect_async(table.path)
    lance = await connection.open_table(table.name)
    await lance.checkout(version)
    return lance


def _greatest_rank(ranks: Ranks, size: int) -> int | None:
    """The rank of the last pair of a pool of this size; None where the pool is not larger."""
    if size < 1:
        raise UserError(f"a pool of {size} pairs was asked for; ask for at least 1")
    return int(ranks[size - 1]) if size < len(ranks) else None
