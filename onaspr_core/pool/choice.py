"""Which rows of a source a pool takes: those of the smallest ranks, found in one bounded scan.

The rank of a row is hashed from its id alone, so a row whose hash is above a threshold needs no memory. The
threshold is guessed from the number of rows, and raised where the guess was too low. What does not belong
here: the forms of sources (`source_forms`), and whether the videos exist (`manifest`).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from onaspr_core.errors import UserError
from onaspr_core.pool.filters import compile_filter
from onaspr_core.pool.listings import Listing, leads_out
from onaspr_core.pool.scan import VIEW, run_tracked
from onaspr_core.pool.settings import Condition
from onaspr_core.pool.text_tables import RefusedRow, mend_table, refused_rows

CHOSEN = ("id", "caption", "path", "member", "start", "stop", "licence", "extra", "problem", "rank")
"""Columns of the rows that are chosen; `rank` is that of `pool_rank`, `problem` is null for a usable row."""

MARGIN = 1.2
"""So many more rows than wanted pass the threshold: how many there are is a guess, and some are equal."""
PROBED = 20_000
CAPTION_LIMIT = 2000

_REFUSED = "refused_lines"
_TAKEDOWN = "takedown"
_UNREADABLE = "unreadable_files"


@dataclass(frozen=True)
class Wish:
    """What a pool wants: how many rows (None: all), its seed, its filter, and names it must not hold."""

    size: int | None = None
    seed: int = 0
    conditions: Sequence[Condition] = ()
    caption_limit: int = CAPTION_LIMIT
    takedown: Sequence[str] = ()


@dataclass(frozen=True)
class Choice:
    """The chosen rows by rank, the ids of all rows that a takedown list names, and counts for people."""

    rows: pa.Table
    withdrawn: Sequence[str]
    facts: dict[str, int]


def pool_rank(seed: int, pair_id: str) -> int:
    """Return a pair's rank: the top 63 bits of SHA-1 over "seed", a line feed and the id, 0 … 2^63 − 1.

    A scan hashes every id, and SHA-1 takes two thirds of SHA-256's time. Nobody has to be kept from choosing
    ids.
    """
    digest = hashlib.sha1(f"{seed}\n{pair_id}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def choose(connection: duckdb.DuckDBPyConnection, listing: Listing, wish: Wish, label: str) -> Choice:
    """Return the rows of smallest rank, the first of each id in the order of the source.

    A line that cannot be read takes part with what could be read of it, and so does a file of items by its
    name; of one id, rows that can be read go before it. Duplicate ids are counted among the rows that are
    chosen.

    Args:
        connection: The one that the listing was opened on.
        listing: Where the rows come from.
        wish: Which are wanted.
        label: What is read, for progress lines.

    Raises:
        UserError: when the source cannot be read, or the filter names a column that it lacks.
    """
    fraction = _first_fraction(connection, listing, wish)
    broken: list[RefusedRow] = []
    while True:
        rows, refused = _collect(connection, listing, wish, fraction, label, broken)
        nameless = _read_off(connection, listing, wish, fraction)
        found = _count(connection, "select count(distinct id) from rows where not withdrawn")
        if fraction is None or wish.size is None or found >= wish.size:
            break
        fraction = _below_half(max(2 * fraction, fraction * MARGIN * wish.size / max(found, 1)))
    chosen = connection.execute(_chosen_sql(wish)).to_arrow_table()
    withdrawn = connection.execute("select distinct id from rows where withdrawn order by id").fetchall()
    return Choice(
        rows=chosen.select(CHOSEN),
        withdrawn=[id_ for (id_,) in withdrawn],
        facts={
            "source_rows": rows + refused,
            "lines_refused": refused,
            "rows_without_id": nameless,
            "duplicate_ids": (pc.sum(chosen["times"]).as_py() or 0) - chosen.num_rows,
            "withdrawn": len(withdrawn),
        },
    )


def every_row(connection: duckdb.DuckDBPyConnection, listing: Listing) -> pa.Table:
    """Return all rows in the order of the source, those of lines that cannot be read last; the seed is 0.

    Raises:
        UserError: when the source cannot be read.
    """
    _collect(connection, listing, Wish(), None, "rows read", [])
    _read_off(connection, listing, Wish(), None, named=False)
    query = f"select {_columns(CAPTION_LIMIT)} from rows order by position"
    return connection.execute(query).to_arrow_table()


def _collect(
    connection: duckdb.DuckDBPyConnection,
    listing: Listing,
    wish: Wish,
    fraction: float | None,
    label: str,
    broken: list[RefusedRow],
) -> tuple[int, int]:
    """Fill `candidates` with the rows below the threshold, as published; count the rows read and refused.

    `broken` holds the lines that mended copies of the table lack, from one call to the next.
    Rows that a takedown list names are candidates too. The canonical columns are read off later: for one row
    in a hundred, and in full vectors.
    """
    clause, parameters = compile_filter(wish.conditions, listing.values)
    connection.register(_TAKEDOWN, pa.table({"name": pa.array(wish.takedown, pa.string())}))
    named = _named(listing, wish)
    below, threshold = "true", []
    if fraction is not None:
        # A row without an id is kept, to be counted.
        below = f"coalesce(sha1(? || {listing.canonical['id']}) < ?, true)"
        threshold = [_salt(wish), _threshold(fraction)]
    query = (
        f"create or replace temp table candidates as select {listing.carried}, "
        f"null::varchar as refused_because from {listing.relation} where ({clause} and {below}) or {named}"
    )
    rows, refused = _scan(connection, listing, label, query, [*parameters, *threshold], broken)
    if refused:
        columns = {name: [row.cells.get(name) for row in refused] for name in listing.table.columns}
        columns["refused_because"] = [row.problem for row in refused]
        types = {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
        connection.register(_REFUSED, pa.table(types))
        relation = listing.relation.replace(VIEW, _REFUSED)
        connection.execute(
            f"insert into candidates by name select * from {relation} where {below} or {named}", threshold
        )
    return rows, len(refused)


def _scan(
    connection: duckdb.DuckDBPyConnection,
    listing: Listing,
    label: str,
    query: str,
    parameters: Sequence[Any],
    broken: list[RefusedRow],
) -> tuple[int, list[RefusedRow]]:
    """Run the scan; return how many rows it read, and the lines that it refused.

    A CSV that makes it lose rows, or give up, is mended and scanned again; `broken` gets what it then lacks.
    """
    table = listing.table
    try:
        rows = run_tracked(connection, label, table.rows, query, parameters)
        refused = refused_rows(connection, table)
        if not any(row.swallows for row in refused):
            return rows or _count(connection, f"select count(*) from {VIEW}"), [*broken, *refused]
    except duckdb.Error as problem:
        if table.reader is None or not isinstance(problem, duckdb.InvalidInputException):
            raise UserError(f"{table.files[0]} cannot be read: {problem}") from problem
    (folder,) = connection.execute("select current_setting('temp_directory')").fetchall()[0]
    broken[:] = mend_table(connection, table, Path(folder))
    try:
        rows = run_tracked(connection, label, table.rows, query, parameters)
    except duckdb.Error as problem:
        raise UserError(f"{table.files[0]} cannot be read: {problem}") from problem
    return rows, [*broken, *refused_rows(connection, table)]


def _read_off(
    connection: duckdb.DuckDBPyConnection,
    listing: Listing,
    wish: Wish,
    fraction: float | None,
    named: bool = True,
) -> int:
    """Fill `rows` with the canonical columns of the candidates; return how many have no id.

    Files that cannot be read are rows behind them, where their hash is below the threshold as well.
    """
    columns = ", ".join(f"{sql} as {name}" for name, sql in listing.canonical.items() if name != "problem")
    connection.execute(
        f"create or replace temp table rows as select {columns}, "
        f"coalesce(refused_because, {listing.canonical['problem']}) as problem, "
        f"sha1(? || {listing.canonical['id']}) as hash, rowid as position, "
        f"{_named(listing, wish)} as withdrawn from candidates",
        [_salt(wish)],
    )
    told = {name: [getattr(one, name) for one in listing.unreadable] for name in ("id", "path", "problem")}
    columns_of_files = {name: pa.array(values, pa.string()) for name, values in told.items()}
    connection.register(_UNREADABLE, pa.table(columns_of_files))
    connection.execute(
        "insert into rows by name select *, '' as caption, '' as licence, '{}' as extra, "
        "sha1(? || id) as hash, (select count(*) from candidates) + row_number() over () as position, "
        f"id in (select name from {_TAKEDOWN}) as withdrawn from {_UNREADABLE} where hash < ?",
        [_salt(wish), "g" if fraction is None else _threshold(fraction)],
    )
    nameless = _count(connection, "select count(*) from rows where coalesce(id, '') = ''")
    if named:
        connection.execute("delete from rows where coalesce(id, '') = ''")
    return nameless


def _named(listing: Listing, wish: Wish) -> str:
    """The SQL of whether a takedown list names a row; such a row is found whatever filter and rank say."""
    each = (f"coalesce({name} in (select name from {_TAKEDOWN}), false)" for name in listing.names)
    return f"({' or '.join(each)})" if wish.takedown else "false"


def _threshold(fraction: float) -> str:
    """What the hash of a row is below that is among this share of all; the first digits tell."""
    return format(int(fraction * 2**64), "016x")


def _salt(wish: Wish) -> str:
    return f"{wish.seed}\n"


def _chosen_sql(wish: Wish) -> str:
    limit = "" if wish.size is None else f"limit {wish.size}"
    return (
        f"select {_columns(wish.caption_limit)}, hash, times from "
        "(select *, count(*) over (partition by id) as times from rows where not withdrawn "
        f"qualify row_number() over (partition by id order by position) = 1) order by hash, id {limit}"
    )


def _columns(caption_limit: int) -> str:
    """The SQL of the columns of `CHOSEN`, with what cannot be used told."""
    limit = int(caption_limit)
    return f"""
        id, squash(caption) as caption, coalesce(path, '') as path, coalesce(member, '') as member,
        start, stop, licence, extra,
        case
            when problem is not null then problem
            when contains(id || caption || coalesce(path, ''), chr(0)) then 'the row holds a NUL byte'
            when squash(caption) = '' then 'the caption is empty'
            when length(squash(caption)) > {limit} then 'the caption is longer than {limit} characters'
            when coalesce(path, '') = '' then 'the row names no file'
            when regexp_matches(path, '(^|/)\\.\\.(/|$)') then {leads_out("path")}
            when regexp_matches(path, '::.*://|://.*::') then
                'the URL ' || path || ' is a chain of file systems'
        end as problem,
        cast(cast('0x' || left(hash, 16) as ubigint) >> 1 as bigint) as rank"""


def _first_fraction(connection: duckdb.DuckDBPyConnection, listing: Listing, wish: Wish) -> float | None:
    """Guess which share of all hashes holds as many rows as are wanted; None where all are needed."""
    if wish.size is None or not listing.table.rows:
        return None
    wanted = MARGIN * wish.size + 10 * math.sqrt(wish.size)
    return _below_half(wanted / (listing.table.rows * _passing(connection, listing, wish)))


def _below_half(fraction: float) -> float | None:
    return fraction if fraction < 0.5 else None


def _passing(connection: duckdb.DuckDBPyConnection, listing: Listing, wish: Wish) -> float:
    """About which share of rows passes the filter, by the first of them."""
    if not wish.conditions:
        return 1.0
    clause, parameters = compile_filter(wish.conditions, listing.values)
    query = f"select count(*), count(*) filter (where {clause}) from (from {listing.relation} limit {PROBED})"
    try:
        seen, passed = connection.execute(query, parameters).fetchall()[0]
        refused_rows(connection, listing.table)
    except duckdb.Error:
        return 1.0  # The scan itself meets the same, and knows what to do.
    return float(max(passed, 1) / max(seen, 1))


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])
