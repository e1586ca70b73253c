"""A neighbour: a captioned clip that a prompt retrieved, as both ONA and SPR use it.

What does not belong here: how the captions nearest to a prompt are found (`search`, `exact`, `lookup`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onaspr_core.retrieval.exact import Hit
from onaspr_core.settings import Experiment

LEAST_SEARCHED = 5
"""So many are found whatever k is: the paper's k, so that a smaller one finds nothing anew."""
CAPTIONS_PER_CLIP = 5
"""How many captions of one clip may lie before the next clip's: Flickr30k has five of an image."""


@dataclass(frozen=True)
class Neighbour:
    """A captioned clip that a prompt retrieved; `similarity` is the cosine of the two texts' embeddings.

    `rank_in_pool` is the pair's seeded hash rank, the order that ties are broken by.
    """

    pair_id: str
    clip_key: str
    caption: str
    similarity: float
    rank_in_pool: int


def searched(e: Experiment, *, for_noise: bool = True) -> int:
    """Return how many captions are found for each prompt of an experiment.

    Args:
        e: The experiment.
        for_noise: Counts what noise of several neighbours asks for, a clip with up to 5 captions of its own.
    """
    several = e.inversion.neighbours if for_noise and e.inversion.neighbours > 1 else 0
    return max(e.references.k, LEAST_SEARCHED, CAPTIONS_PER_CLIP * several)


def nearest_clips(found: Sequence[Neighbour], count: int) -> tuple[Neighbour, ...]:
    """Return the nearest neighbour of each of the `count` nearest distinct clips; fewer where found are."""
    first: dict[str, Neighbour] = {}
    for one in found:
        first.setdefault(one.clip_key, one)
    return tuple(first.values())[:count]


def neighbours(
    hits: Iterable[Hit], rows: Mapping[int, Mapping[str, Any]], k: int, greatest_rank: int | None = None
) -> tuple[Neighbour, ...]:
    """Return the k nearest pairs: those of the captions found, best first, ties to the smaller rank.

    Args:
        hits: The k nearest captions, or all there are.
        rows: The table's rows, by the hits' row numbers.
        k: How many.
        greatest_rank: Leaves out pairs of greater rank.
    """
    found = [
        Neighbour(pair["id"], pair["clip"], row["caption"], hit.similarity, pair["rank"])
        for hit in hits
        for row in (rows[hit.row],)
        for pair in row["pairs"][:k]
        if greatest_rank is None or pair["rank"] <= greatest_rank
    ]
    return tuple(sorted(found, key=lambda one: (-one.similarity, one.rank_in_pool))[:k])
