"""Tables in text: delimited files and JSON lines, through DuckDB's CSV reader.

A line that the reader refuses does not end the scan: `refused_rows` gives it back with its number. What does
not belong here: what columns mean (`source_forms`), and how a file is mended (`csv_mending`).
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import duckdb

from onaspr_core.errors import UserError
from onaspr_core.folders import Folder, file_system, to_read
from onaspr_core.pool.csv_mending import mend_csv
from onaspr_core.pool.listed_files import COMPRESSED, kind_of
from onaspr_core.pool.scan import VIEW, Table, TextReader, identifier, literal, make_view
from onaspr_core.pool.texts import storable
from onaspr_core.progress import logger

SAMPLED = 256 * 1024
PACKED = 4
"""About how many bytes of text one byte of a compressed file unpacks to."""
LINES_SAMPLED = 1000
MOST_REFUSED = 100_000
"""Refused lines that are kept of one file. A file with more is of another form than was said."""

MOST_COLUMNS = 1000
"""DuckDB plans a second on so many, and much longer on more."""

MOST_KEYS = 200
"""The same of JSON, of which each line is read again for each key."""

SHOWN = 10_000
"""Of a refused line DuckDB gives so many characters."""

BYTES_AT_ONCE = 2**20

LINES = "source_lines"
NO_JSON_HAS = "\x01"
"""A delimiter that splits no line: JSON has no such character."""

_TOLD = {
    "MISSING COLUMNS": "has fewer columns than its header",
    "TOO MANY COLUMNS": "has more columns than its header",
    "INVALID ENCODING": "is not UTF-8",
    "UNQUOTED VALUE": "has a quote that is not closed, or text after one",
    "LINE SIZE OVER MAXIMUM": "is longer than a row can be",
}


@dataclass(frozen=True)
class RefusedRow:
    """A line that is no row of its table: what could be read of it, and why not.

    `swallows` says that other lines vanished with it, because a quote was not closed.
    """

    cells: Mapping[str, str]
    problem: str
    swallows: bool = False


def csv_table(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    delimiter: str,
    rows: float,
    header: Sequence[str] = (),
) -> Table:
    """Make the view over delimited files.

    Args:
        connection: One of `open_scan`.
        files: At least one.
        delimiter: What stands between columns.
        rows: About how many rows there are.
        header: The columns of files that have no header line; such files have no quotes either.

    Raises:
        UserError: when files differ in their header, or it names a column twice.
    """
    names = tuple(header) or _common_header(files, delimiter)
    reader = TextReader(VIEW, _options(names, delimiter, "" if header else '"', header=not header))
    if names:
        make_view(connection, VIEW, "read_csv", files, reader.options)
    return Table(dict.fromkeys(names, "VARCHAR"), files, rows, reader)


def json_lines_table(connection: duckdb.DuckDBPyConnection, files: Sequence[str], rows: float) -> Table:
    """Make the view over JSON lines; a line that is no JSON object is a row without values, not an error."""
    sampled = [line for path in (files[0], files[-1]) for line in sample(path).splitlines()]
    names, values = json_values(sampled[:LINES_SAMPLED])
    reader = TextReader(LINES, _options(("line",), NO_JSON_HAS, "", header=False))
    make_view(connection, LINES, "read_csv", files, reader.options)
    if names:
        connection.execute(f"create view {VIEW} as select {values.removeprefix(', ')} from {LINES}")
    return Table(dict.fromkeys(names, "VARCHAR"), files, rows, reader)


def json_values(lines: Iterable[str], taken: Iterable[str] = ()) -> tuple[list[str], str]:
    """Return the keys that JSON objects have, and the SQL that selects each from a column `line`.

    A line that is no JSON has no value of any key. Left out are keys in `taken`, keys that can name no
    column, and those of fewest lines where keys differ in case alone or are more than `MOST_KEYS`.
    """
    counted = Counter(name for line in lines for name in json_object(line) if name and "\0" not in name)
    by_column = {name.lower(): name for name, _ in reversed(counted.most_common())}
    for name in taken:
        by_column.pop(name.lower(), None)
    kept = [name for name in counted if by_column.get(name.lower()) == name]
    kept = sorted(kept, key=lambda name: -counted[name])[:MOST_KEYS]
    valid = "case when json_valid(line) then line end"
    values = (
        f", json_extract_string({valid}, {literal('/' + name.replace('~', '~0').replace('/', '~1'))}) "
        f"as {identifier(name)}"
        for name in kept
    )
    return kept, "".join(values)


def refused_rows(connection: duckdb.DuckDBPyConnection, table: Table) -> list[RefusedRow]:
    """Return the lines that the last scan of a table refused, and forget them.

    Raises:
        UserError: when there are so many that the file must be of another form.
    """
    known = connection.execute("select 1 from duckdb_tables() where table_name = 'reject_errors'").fetchall()
    if table.reader is None or not known:
        return []
    rows = connection.execute(
        "select min(file_path), line_byte_position, any_value(csv_line), min(error_type), min(error_message) "
        "from reject_errors join reject_scans using (scan_id, file_id) "
        "group by file_id, line_byte_position order by all"
    ).fetchall()
    connection.execute("drop table reject_errors")
    connection.execute("drop table reject_scans")
    found = [_Rejected(path, start, text or "", kind) for path, start, text, kind, _ in rows]
    lines = _line_numbers(found)
    if len(rows) >= MOST_REFUSED:
        line = lines[found[0]]
        raise UserError(
            f"{table.files[0]}: more than {MOST_REFUSED} lines cannot be read; line {line}: {rows[0][4]}"
        )
    return [_refused(table, one.path, lines[one], one.text, one.kind) for one in found]


class _Rejected(NamedTuple):
    """A line as DuckDB refused it; `start` counts bytes from 1, and may be that of the line feed before."""

    path: str
    start: int
    text: str
    kind: str


def _line_numbers(rejected: Sequence[_Rejected]) -> dict[_Rejected, int]:
    """Count line feeds: DuckDB's own number is that of the row, and rows may hold line ends."""
    numbers: dict[_Rejected, int] = {}
    for path in dict.fromkeys(one.path for one in rejected):
        with to_read(path, unpacked=True) as file:
            line, at = 1, 0
            for one in sorted((one for one in rejected if one.path == path), key=lambda one: one.start):
                start = one.start - 1 + len(one.text) - len(one.text.lstrip("\r\n"))
                while at < start and (piece := file.read(min(start - at, BYTES_AT_ONCE))):
                    line, at = line + piece.count(b"\n"), at + len(piece)
                numbers[one] = line
    return numbers


def mend_table(connection: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> list[RefusedRow]:
    """Put mended copies of a table's files in their place, and return the lines that they lack.

    Args:
        connection: The one that the table was opened on.
        table: Some of its lines swallowed others, or the reader gave up.
        folder: Where the copies go.

    Raises:
        UserError: when there are so many that the file must be of another form.
    """
    assert table.reader is not None
    logger.info("%s: quotes or line ends are not in order; it is read again without them", table.files[0])
    options = table.reader.options
    copies: list[str] = []
    broken: list[RefusedRow] = []
    for number, path in enumerate(table.files):
        copy = folder / f"mended-{number}{kind_of(path)}"
        copies.append(str(copy))
        table.reader.copies[str(copy)] = path
        lines = mend_csv(path, copy, options["delim"], bool(options["quote"]))
        for line, text in lines:
            broken.append(_refused(table, path, line, text, "UNQUOTED VALUE"))
            if len(broken) > MOST_REFUSED:
                raise UserError(f"{path}: more than {MOST_REFUSED} lines have a quote that is not in order")
    make_view(connection, table.reader.view, "read_csv", copies, options)
    return broken


def _options(names: Sequence[str], delimiter: str, quote: str, *, header: bool) -> dict[str, Any]:
    return {
        "columns": dict.fromkeys(names, "VARCHAR"),
        "delim": delimiter,
        "quote": quote,
        "escape": quote,
        "header": header,
        "auto_detect": False,
        "store_rejects": True,
        "rejects_limit": MOST_REFUSED,
    }


def _refused(table: Table, path: str, line: int, text: str, kind: str) -> RefusedRow:
    """Read what can be read of a line, so that the pair keeps its place until the line is mended."""
    assert table.reader is not None
    text = text.strip("\r\n")
    if table.reader.view == LINES:
        found = {n: storable(str(value)) for n, value in json_object(text).items() if n in table.columns}
    else:
        found = dict(zip(table.columns, _cells(text, table.reader.options["delim"]), strict=False))
    original = PurePosixPath(table.reader.copies.get(path, path))
    file = "the table" if len(table.files) == 1 else original.name
    told = _TOLD.get(kind, f"is no row ({kind.lower()})")
    swallows = "\n" in text or ('"' in text and len(text) >= SHOWN)
    return RefusedRow(found, f"line {line} of {file} {told}", swallows)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    except csv.Error:
        # A cell may be longer than Python's reader takes.
        return line.split(delimiter)


def json_object(line: str) -> dict[str, Any]:
    """Return the object that a line of JSON is, with names that can be stored; an empty one if it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {storable(name): one for name, one in value.items()} if isinstance(value, dict) else {}


def _common_header(files: Sequence[str], delimiter: str) -> tuple[str, ...]:
    first = _header(files[0], delimiter)
    for path in files[1:]:
        if (other := _header(path, delimiter)) != first:
            raise UserError(f"{path} has columns {', '.join(other)}; {files[0]} has {', '.join(first)}")
    twice = [name for name in first if first.count(name) > 1]
    if twice:
        raise UserError(f"{files[0]}: the header names the column {twice[0]!r} twice")
    return first


def _header(path: str, delimiter: str) -> tuple[str, ...]:
    text = sample(path)
    try:
        names = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    except csv.Error as problem:
        raise UserError(f"{path}, line 1: not valid CSV: {problem}") from problem
    if len(names) > MOST_COLUMNS or (len(text) >= SAMPLED and not {"\n", "\r"} & set(text)):
        raise UserError(
            f"{path}, line 1: a header of {len(names)} columns or more; at most {MOST_COLUMNS} are read"
        )
    return tuple(name or f"column {number}" for number, name in enumerate(names))


def estimate_rows(files: Sequence[str], rows_in: Callable[[str], int]) -> float:
    """About how many rows text files hold, from pieces of the first, the middle and the last of them."""
    read = rows = 0
    compressed = any(path.lower().endswith(COMPRESSED) for path in files)
    total = sum(Folder(files[0]).map(_size, files))
    for path in dict.fromkeys([files[0], files[len(files) // 2], files[-1]]):
        for part in (0.0,) if compressed else (0.0, 0.5):
            text = sample(path, part)
            read, rows = read + len(text.encode()), rows + rows_in(text)
    unpacked = total * PACKED if compressed else total
    return unpacked * rows / read if read else 0.0


def _size(path: str) -> int:
    filesystem, inside = file_system(path)
    return filesystem.size(inside) or 0


def sample(path: str, part: float = 0.0) -> str:
    """Return a piece of a text file, from its start or from another part of it; nothing of it is checked.

    Raises:
        UserError: when the file cannot be read.
    """
    try:
        with to_read(path, unpacked=True) as file:
            if part:
                file.seek(int(file.seek(0, io.SEEK_END) * part))
            data: bytes = file.read(SAMPLED)
    except OSError as problem:
        raise UserError(f"{path}: the pool's table cannot be read: {problem}") from problem
    return data.decode("utf-8" if part else "utf-8-sig", "replace")
