"""DuckDB as it reads sources: in memory, bounded, with progress; a table of files is a view.

What does not belong here: the forms of sources (`source_forms`), and the catalog (`onaspr_core.catalog`).
"""

import json
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from onaspr_core.catalog import CONFIG
from onaspr_core.errors import UserError
from onaspr_core.progress import track

MEMORY = "1GB"
"""What DuckDB may hold; more goes to a temporary folder."""

VIEW = "source_table"
"""The name of a table's view; a connection holds one table."""

SECONDS_BETWEEN_LOOKS = 1.0
ROWS_WORTH_TELLING = 100_000

SECONDS_PER_SOURCE = 3600.0
"""A source whose tables take longer to read is refused. Ten million rows on a disk take a minute."""

_PROFILED = '{"OPERATOR_TYPE": "true", "OPERATOR_CARDINALITY": "true"}'

SPACE = (
    r"[\s\x{0b}\x{1c}-\x{1f}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]+"
)
"""Whitespace as Python's `str.split` knows it, for RE2."""

MACROS = f"""
create macro squash(x) as trim(regexp_replace(x, '{SPACE}', ' ', 'g'));
create macro finite_or_null(x) as case when isfinite(x) then x end;
create macro seconds(x) as finite_or_null(
    list_reduce(list_transform(string_split(x, ':'), lambda p: try_cast(p as double)),
                lambda a, b: a * 60 + b));
create macro iso_seconds(x) as case
    when regexp_full_match(x, 'P(\\d+D)?T(\\d+H)?(\\d+M)?([\\d.]+S)?') then
        coalesce(try_cast(regexp_extract(x, '(\\d+)D', 1) as double), 0) * 86400
        + coalesce(try_cast(regexp_extract(x, '(\\d+)H', 1) as double), 0) * 3600
        + coalesce(try_cast(regexp_extract(x, '(\\d+)M', 1) as double), 0) * 60
        + coalesce(try_cast(regexp_extract(x, '([\\d.]+)S', 1) as double), 0) end;
create macro as_number(x) as
    finite_or_null(coalesce(try_cast(x as double), iso_seconds(cast(x as varchar))));
"""
"""`squash` makes white space single, `seconds` reads `1:02:03.5`, `as_number` also ISO 8601 durations.

What is no number, or not a finite one, is null.
"""


@dataclass(frozen=True)
class TextReader:
    """How a view reads lines of text: the name of the view, and the options of DuckDB's CSV reader.

    `copies` tells of each mended copy that the view reads which file it stands for.
    """

    view: str
    options: Mapping[str, Any]
    copies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The view `VIEW` over files: columns and their SQL types, the files, and about how many rows they hold.

    `reader` is None for files that are no text: no line of theirs can be refused.
    """

    columns: Mapping[str, str]
    files: Sequence[str]
    rows: float
    reader: TextReader | None = field(default=None)


@contextmanager
def open_scan(spill: Path | None = None, source: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an empty in-memory database with the macros above.

    Args:
        spill: Folder for what does not fit into `MEMORY`; left out, the system's folder for temporary files.
        source: The path or URL of a source that is read with it, which may be anything: `SECONDS_PER_SOURCE`
            are allowed. Left out, there is no limit.

    Raises:
        UserError: when reading the source takes longer.
    """
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="scan-", dir=spill)
    connection = duckdb.connect(":memory:", False, CONFIG)
    try:
        settings = {
            "memory_limit": MEMORY,
            "temp_directory": folder,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        for name, value in settings.items():
            connection.execute(f"set {name} = {literal(value)}")
        connection.execute("pragma enable_profiling = 'no_output'")
        connection.execute(f"set custom_profiling_settings = {literal(_PROFILED)}")
        connection.execute(MACROS)
        with _in_time(connection, source) if source else nullcontext():
            yield connection
    finally:
        connection.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _in_time(connection: duckdb.DuckDBPyConnection, source: str) -> Iterator[None]:
    """Interrupt the queries of a connection when its time is over."""
    ended, late = threading.Event(), threading.Event()

    def watch() -> None:
        # What is not yet a query is interrupted when it is one.
        patience = SECONDS_PER_SOURCE
        while not ended.wait(patience):
            late.set()
            connection.interrupt()
            patience = SECONDS_BETWEEN_LOOKS

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except (duckdb.Error, UserError) as problem:
        if not late.is_set():
            raise
        told = f"reading its tables took longer than {SECONDS_PER_SOURCE:g} s; split it into several pools"
        raise UserError(f"{source}: {told}") from problem
    finally:
        ended.set()
        watcher.join()


def identifier(name: str) -> str:
    """Write a column's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """Write a value for SQL where no parameter can stand: an option of a table function, a view."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(str(key))}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(literal, value)) + "]"
    raise TypeError(type(value))


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


def run_tracked(
    connection: duckdb.DuckDBPyConnection, label: str, total: float, query: str, parameters: Sequence[Any]
) -> int:
    """Execute a query, log how far it is where that is worth a line, and return how many rows of CSV it read.

    Args:
        connection: Where.
        label: What is being read, for progress lines.
        total: About how many rows there are to read.
        query: SQL, with a question mark for each parameter.
        parameters: The values.
    """
    if total < ROWS_WORTH_TELLING:
        connection.execute(query, parameters)
    else:
        _watched(connection, label, int(total), query, parameters)
    profile = json.loads(connection.get_profiling_information("json"))
    return sum(_rows_of(profile, "READ_CSV"))


def _watched(
    connection: duckdb.DuckDBPyConnection, label: str, rows: int, query: str, parameters: Sequence[Any]
) -> None:
    told, ended = 0, threading.Event()
    with track(label, rows) as advance:

        def look() -> None:
            nonlocal told
            while not ended.wait(SECONDS_BETWEEN_LOOKS):
                now = int(rows * max(connection.query_progress(), 0.0) / 100)
                if told < now < rows:
                    advance(now - told)
                    told = now

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            connection.execute(query, parameters)
        finally:
            ended.set()
            watcher.join()
        advance(rows - told)


def _rows_of(node: dict[str, Any], operator: str) -> Iterator[int]:
    """DuckDB's own counts; counting again would take another scan."""
    if node.get("operator_name") == operator:
        yield node["operator_cardinality"]
    for child in node.get("children", ()):
        yield from _rows_of(child, operator)
