"""The nearest rows to many queries at once: one pass over blocks of vectors, exact for every block size.

Each block costs one float32 matrix product; what could be among a query's best is scored again in float64.
What does not belong here: single queries (`exact`, `lookup`), and where vectors are kept (`table`).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from onaspr_core.retrieval import onednn
from onaspr_core.retrieval.embedder import Vectors
from onaspr_core.retrieval.exact import Hit, Ranks, damaged, float32_error, similarities

QUERIES_AT_ONCE = 1024
VECTORS_AT_ONCE = 1024
"""The scores of so many queries and vectors, 4 MB, are still in the processor's cache when they are read."""

Rows = npt.NDArray[np.int64]


def nearest(queries: Vectors, blocks: Iterable[tuple[Ranks, Vectors]], k: int) -> list[list[Hit]]:
    """Return for each query the k rows of greatest similarity, best first, ties to the smaller rank.

    Rows are numbered over all blocks. Memory is that of a block and of k hits per query.

    Args:
        queries: float32 (queries, d), rows of length 1.
        blocks: Ranks (n,) and vectors float32 (n, d), rows of length 1; any number of blocks of any size.
        k: How many; where the blocks hold fewer rows, all of them are returned.

    Raises:
        UserError: when a vector holds a value that is not finite.
    """
    searches = [_Search(queries[i : i + QUERIES_AT_ONCE], k) for i in range(0, len(queries), QUERIES_AT_ONCE)]
    first = 0
    for ranks, vectors in blocks:
        for start in range(0, len(ranks), VECTORS_AT_ONCE):
            part = slice(start, start + VECTORS_AT_ONCE)
            packed = onednn.packed(vectors[part])
            for search in searches:
                search.look(first + start, ranks[part], vectors[part], packed)
        first += len(ranks)
    return [hits for search in searches for hits in search.hits()]


class _Search:
    """Some queries and the k best rows of each so far, in order."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries = queries
        self._packed = onednn.packed(queries)
        self._k = k
        self._margin = float32_error(queries.shape[1])
        shape = (len(queries), k)
        self._similarities = np.full(shape, -np.inf)
        self._ranks = np.full(shape, np.iinfo(np.int64).max)
        self._rows = np.full(shape, -1)

    def look(self, first: int, ranks: Ranks, vectors: Vectors, packed: torch.Tensor) -> None:
        """Take in a block, whose rows are numbered from `first`; `packed` is what `onednn` makes of it."""
        scores = onednn.scores(self._packed, packed)
        least = torch.from_numpy((self._similarities[:, -1] - self._margin).astype(np.float32))
        best = scores.amax(1)
        if best.isnan().any():
            raise damaged()
        hopeful = (best >= least).nonzero()[:, 0]
        scores, least = scores[hopeful], least[hopeful]
        if len(ranks) >= self._k:
            least = torch.maximum(least, scores.topk(self._k, 1).values[:, -1] - self._margin)
        which, columns = (scores >= least[:, None]).nonzero(as_tuple=True)
        if len(which):
            self._merge(hopeful[which].numpy(), columns.numpy(), first, ranks, vectors)

    def hits(self) -> list[list[Hit]]:
        """Return the best rows of each query."""
        columns = (self._rows.tolist(), self._ranks.tolist(), self._similarities.tolist())
        return [
            [Hit(*hit) for hit in zip(*found, strict=True) if hit[0] >= 0]
            for found in zip(*columns, strict=True)
        ]

    def _merge(self, queries: Rows, columns: Rows, first: int, ranks: Ranks, vectors: Vectors) -> None:
        """Score pairs of a query and a row exactly, and keep what is among the query's best."""
        known = np.unique(queries)
        owner = np.concatenate([np.repeat(known, self._k), queries])
        scored = similarities(self._queries[queries], vectors[columns])
        similarity = np.concatenate([self._similarities[known].ravel(), scored])
        rank = np.concatenate([self._ranks[known].ravel(), ranks[columns]])
        row = np.concatenate([self._rows[known].ravel(), first + columns])
        order = np.lexsort((rank, -similarity, owner))
        starts = np.searchsorted(owner[order], known)
        kept = order[starts[:, None] + np.arange(self._k)]
        self._similarities[known] = similarity[kept]
        self._ranks[known] = rank[kept]
        self._rows[known] = row[kept]
