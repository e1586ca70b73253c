"""References: the captioned clips that a prompt retrieved, as both ONA and SPR use them.

What does not belong here: how the captions nearest to a prompt are found (`search`, `exact`, `lookup`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onaspr_core.retrieval.exact import Hit


@dataclass(frozen=True)
class Reference:
    """A captioned clip that a prompt retrieved; `similarity` is the cosine of the two texts' embeddings.

    `rank_in_pool` is the pair's seeded hash rank, the order that ties are broken by.
    """

    pair_id: str
    clip_key: str
    caption: str
    similarity: float
    rank_in_pool: int


def references(
    hits: Iterable[Hit], rows: Mapping[int, Mapping[str, Any]], k: int, greatest_rank: int | None = None
) -> tuple[Reference, ...]:
    """Return the k nearest pairs: those of the captions found, best first, ties to the smaller rank.

    Args:
        hits: The k nearest captions, or all there are.
        rows: The table's rows, by the hits' row numbers.
        k: How many.
        greatest_rank: Leaves out pairs of greater rank.
    """
    found = [
        Reference(pair["id"], pair["clip"], row["caption"], hit.similarity, pair["rank"])
        for hit in hits
        for row in (rows[hit.row],)
        for pair in row["pairs"][:k]
        if greatest_rank is None or pair["rank"] <= greatest_rank
    ]
    return tuple(sorted(found, key=lambda one: (-one.similarity, one.rank_in_pool))[:k])
