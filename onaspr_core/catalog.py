"""The catalog: rows that are queried (manifest, prompts, neighbours, scores), in one DuckDB file.

DuckDB lets one process hold a file for writing. Connections here are therefore short, and opening one
waits while another process has the file. Each room keeps its own tables; this module knows none of them.
"""

import os
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.whole_files import PARTIAL, told_where_there_is_no_room

# Else a table that does not exist would be looked for among the caller's Python variables, and a query could
# download native code.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
}


class Catalog:
    """A DuckDB file that several processes use in turn."""

    def __init__(self, path: str | Path, wait_seconds: float = 120.0) -> None:
        """Name the file; nothing is opened or made before the first use.

        Args:
            path: The DuckDB file. Its folder is made when it is first written.
            wait_seconds: How long to wait for another process to let go of the file.
        """
        self.path = Path(path)
        self.wait_seconds = wait_seconds

    @contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection inside one transaction: committed at the end, rolled back on an error.

        Raises:
            UserError: when the disk is full, and when another process does not let go of the file.
        """
        with told_where_there_is_no_room(self.path):
            if not self.path.exists():
                self._create()
            connection = self._connect(read_only=False)
            try:
                connection.begin()
                yield connection
                connection.commit()
            finally:
                connection.close()

    @contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection for queries; on a catalog that does not exist yet, an empty one."""
        connection = (
            self._connect(read_only=True) if self.path.exists() else duckdb.connect(":memory:", False, CONFIG)
        )
        try:
            yield connection
        finally:
            connection.close()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]] | None:
        """Return all rows of a query; None where a table it names does not exist yet.

        Args:
            query: SQL, with a question mark for each value.
            parameters: The values.
        """
        with self.read() as connection:
            try:
                return connection.execute(query, parameters).fetchall()
            except duckdb.CatalogException:
                return None

    def table(self, query: str, parameters: Sequence[Any] = ()) -> pa.Table | None:
        """Return all rows of a query as `rows` does, in columns: for those that are many."""
        with self.read() as connection:
            try:
                return connection.execute(query, parameters).to_arrow_table()
            except duckdb.CatalogException:
                return None

    def _create(self) -> None:
        """Make an empty file at once, so that no other process meets a half-written one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            duckdb.connect(str(fresh), False, CONFIG).close()
            with suppress(FileExistsError):
                os.link(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)

    def _connect(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.wait_seconds
        while True:
            try:
                return duckdb.connect(str(self.path), read_only, CONFIG)
            except (duckdb.IOException, duckdb.ConnectionException) as problem:
                if "lock" not in str(problem).lower() and "different configuration" not in str(problem):
                    raise UserError(f"catalog {self.path} cannot be opened: {problem}") from problem
                if time.monotonic() > deadline:
                    raise UserError(
                        f"catalog {self.path} is held by another process since {self.wait_seconds:.0f} s; "
                        f"end that process or wait for it: {problem}"
                    ) from problem
                time.sleep(random.uniform(0.02, 0.2))
