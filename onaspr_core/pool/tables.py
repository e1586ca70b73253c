"""Files of a table, whatever they are written in, as one DuckDB view: CSV, TSV, JSON lines, Parquet.

What does not belong here: what columns mean (`source_forms`).
"""

from collections.abc import Callable, Sequence

import duckdb

from onaspr_core.errors import UserError
from onaspr_core.folders import file_system, is_url
from onaspr_core.pool.listed_files import kind_of
from onaspr_core.pool.scan import VIEW, Table, literal, make_view
from onaspr_core.pool.text_tables import csv_table, estimate_rows, json_lines_table

KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
FILE, ROW = "source_file", "source_row"
"""Columns that a Parquet view has beside those of its files: which file, and which of its rows, from 0."""


def open_table(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    rows_in: Callable[[str], int] = lambda text: text.count("\n"),
) -> Table:
    """Make the view over files of one kind.

    Args:
        connection: One of `open_scan`; it can hold one table.
        files: At least one; all of the same kind and with the same columns.
        rows_in: Counts the rows in a piece of a text file, to estimate how many there are.

    Raises:
        UserError: when the files differ, cannot be read, or are of a kind that is not known.
    """
    kinds = {kind_of(path) for path in files}
    if len(kinds) > 1 or not kinds <= {*KINDS, ".json"}:
        raise UserError(
            f"{files[0]} and {len(files) - 1} more: found {', '.join(sorted(kinds))}; "
            f"expected files of one kind, of {', '.join(KINDS)}"
        )
    open_for_duckdb(connection, files[0])
    (kind,) = kinds
    if kind == ".parquet":
        return _parquet(connection, files)
    rows = estimate_rows(files, rows_in)
    if kind in (".jsonl", ".json"):
        return json_lines_table(connection, files, rows)
    return csv_table(connection, files, "\t" if kind == ".tsv" else ",", rows)


def open_for_duckdb(connection: duckdb.DuckDBPyConnection, path: str) -> None:
    """Let a connection read URLs like this one through fsspec; local paths it reads by itself."""
    if is_url(path):
        filesystem, _ = file_system(path)
        protocol = path.partition("://")[0]
        if not connection.filesystem_is_registered(protocol):
            connection.register_filesystem(filesystem)


def of_file(values: Sequence[str | None]) -> str:
    """The SQL, on a Parquet view, of the value that each of its files has, in the order of the files."""
    return f"cast({literal(values)} as varchar[])[{FILE} + 1]"


def _parquet(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> Table:
    # The name that DuckDB gives a file may be another spelling of ours.
    columns = f"*, cast(file_index as bigint) as {FILE}, file_row_number as {ROW}"
    make_view(connection, VIEW, "read_parquet", files, {"union_by_name": True}, columns)
    described = connection.execute(f"describe {VIEW}").fetchall()
    kinds = {name: kind for name, kind, *_ in described if name not in (FILE, ROW)}
    query = "select sum(num_rows) from parquet_file_metadata(?)"
    return Table(kinds, files, connection.execute(query, [list(files)]).fetchall()[0][0] or 0)
