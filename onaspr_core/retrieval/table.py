"""The LanceDB table of a pool's captions: rows in, rows and vectors out.

There is one table per pool and embedding model. A row is a distinct caption with its vector and the pairs
that it captions, so that a caption that stands under a thousand clips is one vector and one place in the
index. What does not belong here: which rows there should be (`rows`), when an index on the vectors pays
(`vector_index`), and how the best are chosen (`search`, `lookup`).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lancedb.expr import col, lit

from onaspr_core.errors import UserError
from onaspr_core.folders import explained, lance_options
from onaspr_core.retrieval.embedder import Vectors

# Lance reads ahead up to 2 GiB of a table unless it is told otherwise before its first scan.
os.environ.setdefault("LANCE_DEFAULT_IO_BUFFER_SIZE", str(64 << 20))

ROWS_PER_BLOCK = 8192
KEYS_PER_QUERY = 1000
MOST_COMPACTIONS = 8
FOREVER = timedelta(days=36_500)

PAIR = pa.struct([("rank", pa.int64()), ("id", pa.string()), ("clip", pa.string())])
ROW = pa.schema(
    [("key", pa.string()), ("caption", pa.string()), ("rank", pa.int64()), ("pairs", pa.list_(PAIR))]
)
"""A row without its vector: the key of the caption's embedding, the caption, the smallest rank among its
pairs, and the pairs by rank."""


class Block(NamedTuple):
    """Some rows: their ids in this state of the table, ranks (n,), and vectors, float32 (n, d)."""

    row_ids: npt.NDArray[np.uint64]
    ranks: npt.NDArray[np.int64]
    vectors: Vectors


class CaptionTable:
    """The table of one pool and one embedding model.

    It is opened once, and reads the state that it was opened in or wrote, whatever other processes do
    meanwhile.
    """

    def __init__(self, path: str, fingerprint: str, pool: str, version: int | None = None) -> None:
        """Name the table; it is made at the first write.

        Args:
            path: Folder or URL of the LanceDB database.
            fingerprint: The embedder's.
            pool: The pool's name.
            version: The state to read, as `caption_state` names it; without one the newest, to write to.
        """
        self.path = path
        self._version = version
        self.name = f"captions_{fingerprint[:16]}_{pool}"
        self.pool = pool

    @cached_property
    def lance(self) -> Any:
        """The table itself, or None where it has not been made, or no more than begun.

        Raises:
            UserError: when the state to read is not there.
        """
        table: Any = None
        with explained(self.path):
            database = connect(self.path)
            try:
                table = database.open_table(self.name) if self.name in _names(database) else None
            except ValueError as problem:
                # A run that was ended while it made the table leaves a listed folder without a state.
                if "was not found" not in str(problem):
                    raise
        if self._version is not None:
            try:
                with explained(self.path):
                    table.checkout(self._version)
            except (AttributeError, OSError, RuntimeError, ValueError) as problem:
                raise UserError(
                    f"the captions of pool {self.pool} are not in {self.path} as they were embedded last; "
                    f"materialize caption_embeddings: {problem}"
                ) from problem
        return table

    @property
    def dimensions(self) -> int:
        """The length of the vectors of a table that has been made."""
        return int(self.lance.schema.field("vector").type.list_size)

    def rows(self) -> pa.Table:
        """Return all rows, without vectors; none where there is no table."""
        return ROW.empty_table() if self.lance is None else self._scan(ROW.names).to_arrow()

    def vectors(self, keys: Iterable[str]) -> dict[str, Vectors]:
        """Return the vectors, float32 (d,), of captions by key, as far as they are here."""
        found: dict[str, Vectors] = {}
        for chunk in _chunks(keys) if self.lance is not None else ():
            columns = self._scan(["key", "vector"]).where(_among(chunk)).to_arrow()
            found.update(zip(columns["key"].to_pylist(), matrix(columns["vector"]), strict=True))
        return found

    def upsert(self, rows: pa.Table, vectors: Vectors) -> None:
        """Insert rows, or replace those of equal key; rows as `ROW` has them, vectors float32 (n, d)."""
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        data = rows.select(ROW.names).cast(ROW).append_column("vector", column)
        if self.lance is None:
            database = connect(self.path)
            self.lance = database.create_table(self.name, schema=data.schema, mode="overwrite")
        self.lance.merge_insert("key").when_matched_update_all().when_not_matched_insert_all().execute(data)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete rows by key."""
        for chunk in _chunks(keys):
            self.lance.delete(_among(chunk))

    def rewrite(self) -> None:
        """Write all rows anew, without those that were deleted; indices go with the old ones.

        Compaction alone would leave parts as they are of which few rows are deleted.
        """
        if self.lance is not None:
            self.lance.add(self._scan([*ROW.names, "vector"]).to_batches(), mode="overwrite")

    def settle(self) -> None:
        """Compact until nothing is left to compact; earlier states stay."""
        for _ in range(MOST_COMPACTIONS if self.lance is not None else 0):
            before = self.lance.version
            self.lance.optimize(cleanup_older_than=FOREVER)
            if self.lance.version == before:
                return

    def forget_past(self) -> None:
        """Delete from the disk what only earlier states of the table hold. Who reads one of them fails.

        After `settle` the newest state, which stays, is the one that the table is in.
        """
        if self.lance is not None:
            self.lance.optimize(cleanup_older_than=timedelta(milliseconds=1), delete_unverified=True)

    def texts(self) -> pa.Table:
        """Return all rows of a table that has been made, without vectors, each with its `_rowid`."""
        return self._scan([*ROW.names, "_rowid"]).to_arrow()

    def blocks(self, greatest_rank: int | None = None) -> Iterator[Block]:
        """Yield all rows, or those up to a rank, in blocks that fit in memory."""
        if self.lance is None:
            return
        query = self._scan(["_rowid", "rank", "vector"])
        if greatest_rank is not None:
            query = query.where(col("rank") <= lit(greatest_rank))
        for batch in query.to_batches(batch_size=ROWS_PER_BLOCK):
            if batch.num_rows:
                yield Block(batch["_rowid"].to_numpy(), batch["rank"].to_numpy(), matrix(batch["vector"]))

    def take(self, row_ids: Sequence[int]) -> pa.Table:
        """Return rows by the ids that `blocks` gave, as `ROW` and `_rowid`, in any order."""
        return self.lance.take_row_ids(list(row_ids)).select(ROW.names).with_row_id().to_arrow()

    def pair_ranks(self) -> npt.NDArray[np.int64]:
        """Return the ranks of all pairs, ascending."""
        batches = [] if self.lance is None else self._scan(["pairs"]).to_batches()
        parts = [batch["pairs"].flatten().field("rank").to_numpy() for batch in batches]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))

    def _scan(self, columns: list[str]) -> Any:
        return self.lance.search().select(columns)


def connect(path: str) -> Any:
    """Open the LanceDB database in a folder or at a URL."""
    return lancedb.connect(path, storage_options=lance_options(path))


def tables_of(path: str, fingerprint: str) -> list[CaptionTable]:
    """Return the tables of one embedding model, whatever their pools."""
    prefix = CaptionTable(path, fingerprint, "").name
    names = [name for name in _names(connect(path)) if name.startswith(prefix)]
    return [CaptionTable(path, fingerprint, name.removeprefix(prefix)) for name in names]


def drop_others(path: str, kept: Iterable[str]) -> None:
    """Drop the tables of captions that are not named: those of other models and of pools that are gone."""
    database = connect(path)
    for name in set(_names(database)).difference(kept):
        if name.startswith("captions_"):
            database.drop_table(name)


def matrix(column: Any) -> Vectors:
    """Return a column of vectors as float32 (n, d)."""
    chunk = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat: Vectors = np.asarray(chunk.flatten(), np.float32)
    return flat.reshape(len(chunk), -1) if len(chunk) else np.zeros((0, 1), np.float32)


def _names(database: Any) -> list[str]:
    return list(database.list_tables().tables)


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, KEYS_PER_QUERY)):
        yield chunk


def _among(keys: list[str]) -> Any:
    return col("key").isin(keys)
