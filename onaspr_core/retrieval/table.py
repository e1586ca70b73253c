"""The LanceDB table of captions: rows in, rows and vectors out.

There is one table per embedding model, named after its fingerprint, and `tidy` keeps only the current one.
What does not belong here: which rows there should be (`index`) and how the best are chosen (`search`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from onaspr_core.retrieval.embedder import Vectors

ROWS_PER_BLOCK = 8192
KEYS_PER_QUERY = 1000


class CaptionRow(NamedTuple):
    """A pair as the table holds it, without its vector; `key` is that of its caption's embedding."""

    row: str
    pool: str
    pair_id: str
    rank: int
    caption: str
    key: str
    clip_key: str


@dataclass(frozen=True)
class CaptionBlock:
    """Some rows of the table with their vectors, float32 (n, d)."""

    rows: Sequence[CaptionRow]
    vectors: Vectors

    @property
    def ranks(self) -> npt.NDArray[np.int64]:
        """Ranks of the rows, int64 (n,)."""
        return np.array([row.rank for row in self.rows], np.int64)


class CaptionIndex:
    """The table of one embedding model."""

    def __init__(self, path: str, fingerprint: str) -> None:
        """Name the table; it is made at the first write.

        Args:
            path: Folder of the LanceDB database.
            fingerprint: The embedder's.
        """
        self._path = path
        self._name = f"captions_{fingerprint[:16]}"

    def rows(self) -> list[CaptionRow]:
        """Return all rows, without vectors; none where there is no table."""
        table = self._table()
        if table is None:
            return []
        columns = table.search().select(list(CaptionRow._fields)).to_arrow()
        return _caption_rows(columns)

    def vectors(self, keys: Iterable[str]) -> dict[str, Vectors]:
        """Return the vectors, float32 (d,), of captions by key."""
        table = self._table()
        found: dict[str, Vectors] = {}
        remaining = iter(dict.fromkeys(keys))
        while table is not None and (chunk := list(islice(remaining, KEYS_PER_QUERY))):
            columns = table.search().where(f"key in ({_quoted(chunk)})").select(["key", "vector"]).to_arrow()
            found.update(zip(columns["key"].to_pylist(), _matrix(columns["vector"]), strict=True))
        return found

    def upsert(self, rows: Sequence[CaptionRow], vectors: Vectors) -> None:
        """Insert rows or replace those of the same pool and pair; vectors are float32 (n, d)."""
        if not rows:
            return
        width = vectors.shape[1]
        columns: dict[str, Any] = {
            field: pa.array(values, pa.int64() if field == "rank" else pa.string())
            for field, values in zip(CaptionRow._fields, zip(*rows, strict=True), strict=True)
        }
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1), pa.float32())
        columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, width)
        data = pa.table(columns)
        table = self._table()
        if table is None:
            table = self._database().create_table(self._name, schema=data.schema, exist_ok=True)
        table.merge_insert("row").when_matched_update_all().when_not_matched_insert_all().execute(data)

    def delete(self, row_ids: Iterable[str]) -> None:
        """Delete rows by id."""
        table, remaining = self._table(), iter(row_ids)
        while table is not None and (chunk := list(islice(remaining, KEYS_PER_QUERY))):
            table.delete(f"row in ({_quoted(chunk)})")

    def tidy(self) -> None:
        """Compact the table, and drop the tables of other embedding models."""
        table = self._table()
        if table is not None:
            table.optimize()
        for name in self._names():
            if name.startswith("captions_") and name != self._name:
                self._database().drop_table(name)

    def blocks(self, pool: str) -> Iterator[CaptionBlock]:
        """Yield the rows of a pool, with vectors, in blocks that fit in memory."""
        table = self._table()
        if table is None:
            return
        query = table.search().where(f"pool in ({_quoted([pool])})").select([*CaptionRow._fields, "vector"])
        for batch in query.to_batches(batch_size=ROWS_PER_BLOCK):
            if batch.num_rows:
                yield CaptionBlock(_caption_rows(batch), _matrix(batch["vector"]))

    def _database(self) -> Any:
        return lancedb.connect(self._path)

    def _names(self) -> list[str]:
        return list(self._database().list_tables().tables)

    def _table(self) -> Any:
        return self._database().open_table(self._name) if self._name in self._names() else None


def _caption_rows(columns: Any) -> list[CaptionRow]:
    lists = [columns[field].to_pylist() for field in CaptionRow._fields]
    return [CaptionRow._make(values) for values in zip(*lists, strict=True)]


def _matrix(column: Any) -> Vectors:
    chunk = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat: Vectors = np.asarray(chunk.flatten(), np.float32)
    return flat.reshape(len(chunk), -1) if len(chunk) else np.zeros((0, 1), np.float32)


def _quoted(texts: Iterable[str]) -> str:
    """Texts as SQL literals, whatever stands in them."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
