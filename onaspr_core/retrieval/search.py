"""Exact nearest neighbours of many queries at once, the same on every machine and for every block size.

Scores are found in float32 with one matrix product per block; whatever could be among the best within
float32's error is scored again exactly. What does not belong here: where vectors are kept (`index`).
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onaspr_core.retrieval.embedder import Vectors

QUERIES_AT_ONCE = 1024


class Hit(NamedTuple):
    """A found row: its number counted over all blocks, its rank in the pool, and its cosine similarity."""

    row: int
    rank: int
    similarity: float


def cosine(a: Vectors, b: Vectors) -> float:
    """Return the inner product of two float32 vectors, rounded once.

    Products of two float32 numbers are exact in float64 and `fsum` rounds their sum once, so the result
    depends on neither the order of summation nor the machine.
    """
    return math.fsum((a.astype(np.float64) * b.astype(np.float64)).tolist())


def nearest(
    queries: Vectors, blocks: Iterable[tuple[npt.NDArray[np.int64], Vectors]], k: int
) -> list[list[Hit]]:
    """Return for each query the k rows of greatest similarity, best first, ties to the smaller rank.

    Args:
        queries: float32 (queries, d), rows of length 1.
        blocks: Ranks (n,) and vectors float32 (n, d), rows of length 1; any number of blocks of any size.
        k: How many; where the blocks hold fewer rows, all of them are returned.
    """
    searches = [_Search(queries[i : i + QUERIES_AT_ONCE], k) for i in range(0, len(queries), QUERIES_AT_ONCE)]
    start = 0
    for ranks, vectors in blocks:
        for search in searches:
            search.look(start, ranks, vectors)
        start += len(ranks)
    return [hits for search in searches for hits in search.finish()]


class _Search:
    """The candidates of some queries: every row that may be among the k best so far."""

    def __init__(self, queries: Vectors, k: int) -> None:
        self._queries = queries
        self._k = k
        self._best = np.full((len(queries), k), -np.inf, np.float32)
        self._margin = np.float32(2 * queries.shape[1] * np.finfo(np.float32).eps)
        self._candidates: list[list[tuple[float, int, int, Vectors]]] = [[] for _ in queries]

    def look(self, start: int, ranks: npt.NDArray[np.int64], vectors: Vectors) -> None:
        scores = self._queries @ vectors.T
        floor = self._best.min(axis=1)
        if len(ranks) >= self._k and np.isneginf(floor).any():
            floor = np.maximum(floor, np.partition(scores, -self._k, axis=1)[:, -self._k])
        worth = scores >= (floor - self._margin)[:, None]
        for query in np.flatnonzero(worth.any(axis=1)):
            columns = np.flatnonzero(worth[query])
            found = scores[query, columns]
            self._candidates[query] += [
                (float(score), start + int(column), int(ranks[column]), vectors[column].copy())
                for score, column in zip(found, columns, strict=True)
            ]
            self._best[query] = np.sort(np.concatenate([self._best[query], found]))[-self._k :]

    def finish(self) -> list[list[Hit]]:
        results = []
        for query, best, candidates in zip(self._queries, self._best, self._candidates, strict=True):
            floor = float(best.min() - self._margin)
            hits = [Hit(i, rank, cosine(query, row)) for score, i, rank, row in candidates if score >= floor]
            results.append(sorted(hits, key=lambda hit: (-hit.similarity, hit.rank))[: self._k])
        return results
