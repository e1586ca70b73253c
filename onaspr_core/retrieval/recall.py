"""How much of what is nearest the index of a pool finds.

What does not belong here: the index itself (`vector_index`), and what follows from a low recall.
"""

import numpy as np

from onaspr_core.retrieval.lookup import CaptionSearch, nearest_pairs
from onaspr_core.workspace import Workspace

NEIGHBOURS = 5


def index_recall(workspace: Workspace, pool: str, samples: int = 200) -> float | None:
    """Return which share of the five nearest other captions a search by way of the index finds.

    The prompts are captions of the pool, evenly spaced in its table. Their own pairs are left out of the
    count.

    Args:
        workspace: Where to look.
        pool: The pool's name.
        samples: How many captions serve as prompts; all of them where the pool holds fewer.

    Returns:
        0 … 1, or None where the pool is too small to have an index.

    Raises:
        UserError: when there is no such pool, or its captions have not been embedded.
    """
    search = CaptionSearch(workspace, pool)
    if search.index is None:
        return None
    count = search.table.lance.count_rows()
    chosen = np.unique(np.linspace(0, count - 1, samples).astype(np.int64))
    row_ids, vectors, first = [], [], 0
    for block in search.table.blocks():
        here = chosen[(chosen >= first) & (chosen < first + len(block.ranks))] - first
        row_ids.append(block.row_ids[here])
        vectors.append(block.vectors[here])
        first += len(block.ranks)
    queries, ids = np.concatenate(vectors), np.concatenate(row_ids).tolist()
    captions = {row["_rowid"]: row["caption"] for row in search.table.take(ids).to_pylist()}
    found = wanted = 0
    for row_id, query, nearest in zip(
        ids, queries, nearest_pairs(search.table, queries, NEIGHBOURS + 1), strict=True
    ):
        others = {one.pair_id for one in nearest if one.caption != captions[row_id]}
        wanted += len(others)
        found += len(others.intersection(one.pair_id for one in search.nearest(query, NEIGHBOURS + 1)))
    return found / wanted if wanted else 1.0
