from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from onaspr_core.retrieval.embedder import unit_rows
from onaspr_core.retrieval.exact import nearest_to, similarities
from onaspr_core.retrieval.search import nearest

Blocks = Iterator[tuple[np.ndarray, np.ndarray]]


def random_rows(count: int, width: int = 64, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32))


def in_blocks(ranks: np.ndarray, vectors: np.ndarray, size: int) -> Blocks:
    for start in range(0, len(ranks), size):
        yield ranks[start : start + size], vectors[start : start + size]


def brute_force(query: np.ndarray, ranks: np.ndarray, vectors: np.ndarray, k: int) -> list[int]:
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    order = sorted(range(len(ranks)), key=lambda i: (-scores[i], ranks[i]))
    return order[:k]


@pytest.mark.parametrize("block", [7, 100, 5000])
@pytest.mark.parametrize("k", [1, 5])
def test_the_nearest_are_those_of_a_float64_reference_for_every_block_size(block: int, k: int) -> None:
    queries, vectors = random_rows(20, seed=1), random_rows(3000)
    ranks = np.random.default_rng(2).permutation(3000).astype(np.int64)
    found = nearest(queries, in_blocks(ranks, vectors, block), k)
    expected = [brute_force(query, ranks, vectors, k) for query in queries]
    assert [[hit.row for hit in hits] for hits in found] == expected
    assert [nearest_to(query, ranks, vectors, k) for query in queries] == found


def test_more_queries_than_go_at_once_keep_their_order() -> None:
    queries, vectors = random_rows(2500, seed=1), random_rows(40)
    found = nearest(queries, in_blocks(np.arange(40), vectors, 16), 1)
    assert [hit.row for (hit,) in found] == np.argmax(queries @ vectors.T, axis=1).tolist()


def test_similarities_are_the_exact_inner_products_to_twelve_digits() -> None:
    a, b = random_rows(20000, width=8), random_rows(20000, width=8, seed=1)
    exact = sum(
        (Fraction(float(x)) * Fraction(float(y)) for x, y in zip(a[-1], b[-1], strict=True)), Fraction(0)
    )
    found = similarities(a, b)
    assert found[-1] == round(float(exact), 12)
    assert np.allclose(found, (a.astype(np.float64) * b).sum(1), atol=1e-12, rtol=0)
    ((hit,),) = nearest(a[-1:], iter([(np.array([3]), b[-1:])]), 1)
    assert hit == (0, 3, round(float(exact), 12))


@pytest.mark.parametrize("block", [1, 3, 64, 500])
def test_ties_go_to_the_smaller_rank_however_many_there_are(block: int) -> None:
    vectors = np.repeat(random_rows(5), 60, axis=0)
    ranks = np.random.default_rng(3).permutation(300).astype(np.int64)
    (hits,) = nearest(vectors[:1], in_blocks(ranks, vectors, block), 10)
    assert [hit.rank for hit in hits] == sorted(ranks[:60])[:10]
    assert len({hit.similarity for hit in hits}) == 1
    assert nearest_to(vectors[0], ranks, vectors, 10) == hits


def test_differences_below_float32_are_told_apart() -> None:
    query = np.zeros((1, 64), np.float32)
    query[0, :2] = 0.6, 0.8
    nearer = query[0].copy()
    nearer[2] = 1e-6
    # The second row differs in the last bit of one coordinate, and its rank would win a tie.
    further = nearer.copy()
    further[0] = np.nextafter(further[0], np.float32(0))
    ranks, vectors = np.array([9, 1]), np.stack([nearer, further])
    (hits,) = nearest(query, iter([(ranks, vectors)]), 2)
    assert [hit.row for hit in hits] == [0, 1]
    assert [hit.row for hit in nearest_to(query[0], ranks, vectors, 1)] == [0]


def test_a_small_pool_gives_all_it_has() -> None:
    (hits,) = nearest(random_rows(1), in_blocks(np.arange(3), random_rows(3, seed=4), 2), 5)
    assert len(hits) == 3
    assert len(nearest_to(random_rows(1)[0], np.arange(3), random_rows(3, seed=4), 5)) == 3
    assert nearest(random_rows(2), iter([]), 5) == [[], []]
