"""A table of a source as a DuckDB view, and pieces of text files to guess its size from.

What does not belong here: the kinds of files that a view is made over (`text_tables`, `source_tables`).
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import fsspec

from onaspr_core.errors import UserError
from onaspr_core.pool.scan import file_system, literal
from onaspr_core.pool.source_lists import COMPRESSED

VIEW = "source_table"
"""The name of a table's view; a connection holds one table."""

SAMPLED = 256 * 1024
PACKED = 4
"""About how many bytes of text one byte of a compressed file unpacks to."""


@dataclass(frozen=True)
class TextReader:
    """How a view reads lines of text: the name of the view, and the options of DuckDB's CSV reader."""

    view: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """The view `VIEW` over files: columns and their SQL types, the files, and about how many rows they hold.

    `reader` is None for files that are no text: no line of theirs can be refused.
    """

    columns: Mapping[str, str]
    files: Sequence[str]
    rows: float
    reader: TextReader | None = field(default=None)


def make_view(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    function: str,
    files: Sequence[str],
    options: Mapping[str, Any],
    columns: str = "*",
) -> None:
    """Make a view of what a table function of DuckDB's reads from files.

    Raises:
        UserError: when they cannot be read.
    """
    told = "".join(f", {option} = {literal(value)}" for option, value in options.items())
    query = f"create or replace view {name} as select {columns} from {function}({literal(list(files))}{told})"
    try:
        connection.execute(query)
    except duckdb.Error as problem:
        raise UserError(f"{files[0]}: the pool's table cannot be read: {problem}") from problem


def estimate_rows(files: Sequence[str], rows_in: Callable[[str], int]) -> float:
    """About how many rows text files hold, from pieces of the first, the middle and the last of them."""
    total = read = rows = 0
    compressed = any(path.lower().endswith(COMPRESSED) for path in files)
    for path in files:
        filesystem, inside = file_system(path)
        total += filesystem.size(inside) or 0
    for path in dict.fromkeys([files[0], files[len(files) // 2], files[-1]]):
        for part in (0.0,) if compressed else (0.0, 0.5):
            text = sample(path, part)
            read, rows = read + len(text.encode()), rows + rows_in(text)
    unpacked = total * PACKED if compressed else total
    return unpacked * rows / read if read else 0.0


def sample(path: str, part: float = 0.0) -> str:
    """Return a piece of a text file, from its start or from another part of it; nothing of it is checked.

    Raises:
        UserError: when the file cannot be read.
    """
    try:
        with fsspec.open(path, "rb", compression="infer") as file:
            if part:
                file.seek(int(file.seek(0, io.SEEK_END) * part))
            data: bytes = file.read(SAMPLED)
    except OSError as problem:
        raise UserError(f"{path}: the pool's table cannot be read: {problem}") from problem
    return data.decode("utf-8" if part else "utf-8-sig", "replace")
