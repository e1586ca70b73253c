"""Tables as CSV, in one way: numbers unrounded, and nothing where there is nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(rows: Iterable[Mapping[str, Any]], names: Sequence[str] = ()) -> str:
    """Return a header and a line for each row.

    Args:
        rows: Values by column.
        names: The columns; without them those of the first row, and no text at all where there is no row.
    """
    found = list(rows)
    columns = list(names or (found[0] if found else ()))
    if not columns:
        return ""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in found)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else repr(value) if isinstance(value, float) else value
