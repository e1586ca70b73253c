"""A pool's captions in memory, by rank: what makes a single prompt a matter of a few milliseconds.

What does not belong here: which of them are nearest (`exact`, `lookup`).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onaspr_core.retrieval.table import CaptionTable

Positions = npt.NDArray[np.int64]


class Resident:
    """All rows of a table in the order of their ranks: `ranks`, int64 (n,), and `vectors`, float32 (n, d)."""

    def __init__(self, table: CaptionTable) -> None:
        """Read the table; memory is that of its vectors and texts, and of one block."""
        rows = table.texts()
        order = np.argsort(rows["rank"].to_numpy())
        self._row_at: Positions = order
        self.ranks = rows["rank"].to_numpy()[order]
        position = np.empty(len(order), np.int64)
        position[order] = np.arange(len(order))
        row_ids = rows["_rowid"].to_numpy()
        by_id = np.argsort(row_ids)
        self._row_ids, self._position_of = row_ids[by_id], position[by_id]
        # In one piece: to take rows from a thousand pieces copies all of them.
        self._rows = rows.select(["caption", "pairs"]).combine_chunks()
        del rows
        pa.default_memory_pool().release_unused()
        self.vectors = np.empty((len(order), table.dimensions), np.float32)
        for block in table.blocks():
            self.vectors[self.positions(block.row_ids)] = block.vectors

    def positions(self, row_ids: npt.NDArray[np.uint64]) -> Positions:
        """Return where the rows of these ids stand."""
        return self._position_of[np.searchsorted(self._row_ids, row_ids)]

    def rows(self, positions: Iterable[int], k: int) -> dict[int, dict[str, Any]]:
        """Return rows with at most k of their pairs, by position."""
        wanted = list(positions)
        found = self._rows.take(pa.array(self._row_at[wanted]))
        return dict(zip(wanted, first_pairs(found, k).to_pylist(), strict=True))


def first_pairs(rows: pa.Table, k: int) -> pa.Table:
    """Return rows with only the k pairs of smallest rank of each."""
    pairs = pc.list_slice(rows["pairs"], 0, k)
    return rows.set_column(rows.schema.get_field_index("pairs"), "pairs", pairs)
