"""The index on a pool's vectors: when it pays, how it is kept up, and how far a search looks into it.

It is LanceDB's inverted file with RaBitQ codes of four bits a dimension. A pool of fewer captions than
`PAYS_FROM` has none, since scoring all of them is as quick. A larger one's is built anew when there is none
yet, when the pool has come to hold more than twice or less than half of the captions that it was built on,
and when it has come to consist of more than `MOST_PARTS` parts. Otherwise new rows become one more part once
they are more than `MOST_UNINDEXED` of all; until then a search scores them beside what the index names, since
compacting the table rewrites all of it.
What does not belong here: how candidates from it become neighbours (`lookup`).
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from lancedb.index import BTree, IvfRq

from onaspr_core.progress import logger
from onaspr_core.retrieval.table import CaptionTable

PAYS_FROM = 20_000
MOST_PARTS = 8
MOST_UNINDEXED = 0.01
MOST_FRAGMENTS = 64
BITS_PER_DIMENSION = 4

EARLIER_STATES_LAST = timedelta(days=1)
"""So long, at the least, a reader may go on with a state of the table that was replaced; then a compaction
deletes its files."""


class VectorIndex(NamedTuple):
    """An index: its name, how many captions it was built on, holds and lacks, and its parts."""

    name: str
    built_on: int
    indexed: int
    unindexed: int
    parts: int

    @property
    def told(self) -> str:
        """The index in words."""
        return f"{self.indexed} captions in {self.parts} part(s), built on {self.built_on}"

    @property
    def probes(self) -> int:
        """How many partitions a search visits: half of a hundred, a quarter of a thousand."""
        return math.ceil(2.5 * math.pow(partitions(self.built_on), 2 / 3))


def partitions(captions: int) -> int:
    """Return into how many partitions so many captions are divided: 110 for 100,000, 350 for a million."""
    return max(1, round(0.35 * math.sqrt(captions)))


def vector_index(table: CaptionTable) -> VectorIndex | None:
    """Return the index of a table, or None where it has none."""
    found = _vector_indices(table)
    return found[0] if found else None


def _vector_indices(table: CaptionTable) -> list[VectorIndex]:
    """All indices on the vectors, the one whose size is most like the table's first.

    There is more than one after a run that ended between building one and dropping the other.
    """
    if table.lance is None:
        return []
    found = []
    for index in table.lance.list_indices():
        if built_on := re.fullmatch(r"vectors_of_(\d+)", index.name):
            held = (index.num_indexed_rows, index.num_unindexed_rows, index.num_segments)
            found.append(VectorIndex(index.name, int(built_on[1]), *held))
    if len(found) > 1:
        captions = max(1, table.lance.count_rows())
        found.sort(key=lambda index: abs(math.log(max(1, index.built_on) / captions)))
    return found


def keep_up(table: CaptionTable, changed: bool, published: int | None = None) -> VectorIndex | None:
    """Compact a table and bring its index up to it where that pays; return the index, or None without one.

    Args:
        table: Its rows are final, and no other process writes to it.
        changed: Whether rows were written or deleted since the last call.
        published: The version that readers open until another is named to them; its files stay.
    """
    index = vector_index(table)
    if table.lance is None:
        return None
    captions = table.lance.count_rows()
    waiting = index and (index.unindexed > captions * MOST_UNINDEXED or _fragments(table) > MOST_FRAGMENTS)
    if waiting or (changed and not index):
        created = {one["version"]: one["timestamp"] for one in table.lance.list_versions()}
        table.lance.optimize(cleanup_older_than=age_to_delete(created, published, datetime.now()))
        index = vector_index(table)
    if captions < PAYS_FROM or table.dimensions % 8:
        _drop_all_but(table, None)
        return None
    if index is None or index.parts > MOST_PARTS or not captions / 2 <= index.built_on <= captions * 2:
        _drop_all_but(table, _build(table, captions))
    else:
        _drop_all_but(table, index.name)
    return vector_index(table)


def age_to_delete(created: Mapping[int, datetime], published: int | None, now: datetime) -> timedelta:
    """Return from which age on versions of a table may be deleted.

    A version is as old as its creation, but readers may have opened it until it was replaced: the published
    one just now, and the one that was the newest a day ago since then. So those stay, whatever their age,
    and `EARLIER_STATES_LAST` more, which is far above the time from here to the deletion.

    Args:
        created: When each version was created, by number.
        published: The version that readers open.
        now: The time, of the same clock; if that was set back, versions of its future are as old as none.
    """
    limit = now - EARLIER_STATES_LAST
    stay = [time for version, time in created.items() if version == published]
    stay += sorted(time for time in created.values() if time <= limit)[-1:]
    return max([timedelta(), *(now - time for time in stay)]) + EARLIER_STATES_LAST


def _fragments(table: CaptionTable) -> int:
    """Into how many files the rows are divided: each write that is not compacted adds one."""
    return int(table.lance.stats()["fragment_stats"]["num_fragments"])


def _build(table: CaptionTable, captions: int) -> str:
    """Build the index, and those by rank and by key, beside what there is; return its name."""
    logger.info("caption embeddings of %s: building the index of %d captions", table.pool, captions)
    named = {index.name for index in table.lance.list_indices()}
    for column in ("rank", "key"):
        if f"{column}_idx" not in named:
            table.lance.create_index(column, config=BTree())
    config = IvfRq(distance_type="dot", num_partitions=partitions(captions), num_bits=BITS_PER_DIMENSION)
    name = f"vectors_of_{captions}"
    table.lance.create_index("vector", config=config, name=name, replace=True)
    return name


def _drop_all_but(table: CaptionTable, kept: str | None) -> None:
    """Drop the indices on the vectors, but for one; the old one serves until the new one is there."""
    for index in _vector_indices(table):
        if index.name != kept:
            table.lance.drop_index(index.name)
