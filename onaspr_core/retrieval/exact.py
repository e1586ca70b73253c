"""Exact similarities and the nearest rows to one query, the same on every machine.

Scores are found in float32; whatever could be among the best within float32's error is scored again in
float64. What does not belong here: many queries at once (`search`), and where vectors are kept (`table`).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError
from onaspr_core.retrieval.embedder import Vectors

DIGITS = 12
"""Similarities are rounded to so many: far below what tells vectors apart, far above float64's error, so that
the order of summation decides nothing."""

PAIRS_AT_ONCE = 8192

Ranks = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]


class Hit(NamedTuple):
    """A found row: its number, its rank in the pool, and its cosine similarity."""

    row: int
    rank: int
    similarity: float


def similarities(a: Vectors, b: Vectors) -> Similarities:
    """Return the inner products of the rows of two float32 (n, d) arrays, float64 (n,), to twelve digits."""
    starts = range(0, len(a), PAIRS_AT_ONCE)
    parts = [_products(a[i : i + PAIRS_AT_ONCE], b[i : i + PAIRS_AT_ONCE]) for i in starts]
    products: Similarities = np.concatenate([np.zeros(0), *parts])
    return products.round(DIGITS)


def float32_error(dimensions: int) -> float:
    """Return twice the bound of the error of a float32 inner product of rows of length 1.

    So far below the k-th best float32 score may lie a row that is among the k best.
    """
    return dimensions * float(np.finfo(np.float32).eps)


def nearest_to(query: Vectors, ranks: Ranks, vectors: Vectors, k: int) -> list[Hit]:
    """Return the k rows of greatest similarity to one query, best first, ties to the smaller rank.

    Args:
        query: float32 (d,), of length 1.
        ranks: int64 (n,).
        vectors: float32 (n, d), rows of length 1.
        k: How many; where there are fewer rows, all of them are returned.

    Raises:
        UserError: when a vector holds a value that is not finite.
    """
    rows = np.arange(len(ranks))
    if len(ranks) > k:
        scores = vectors @ query
        if np.isnan(scores).any():
            raise damaged()
        rows = np.flatnonzero(scores >= np.partition(scores, -k)[-k] - float32_error(len(query)))
    exact = similarities(np.broadcast_to(query, (len(rows), len(query))), vectors[rows])
    if np.isnan(exact).any():
        raise damaged()
    best = np.lexsort((ranks[rows], -exact))[:k]
    return [Hit(int(rows[i]), int(ranks[rows[i]]), float(exact[i])) for i in best]


def damaged() -> UserError:
    """Return the error of a vector that is not finite: which of the others are nearest cannot be said."""
    return UserError(
        "an embedding among the stored captions holds values that are not finite: it is not as it was "
        "written; delete the folder captions.lance of the store and materialize caption_embeddings"
    )


def _products(a: Vectors, b: Vectors) -> Similarities:
    products: Similarities = np.einsum("nd,nd->n", a.astype(np.float64), b.astype(np.float64))
    return products
