"""Where pool videos and their captions come from, row by row: what benchmarks read their lists with.

A pool's manifest is chosen in DuckDB (`choice`) and sees only the rows that it takes. A row that is wrong is
still a row, with its problem; only a source whose columns are wrong is an error.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onaspr_core.folders import is_url
from onaspr_core.paths import resolve
from onaspr_core.pool.choice import every_row
from onaspr_core.pool.listings import Source
from onaspr_core.pool.media import Media
from onaspr_core.pool.scan import open_scan
from onaspr_core.pool.settings import PoolSettings
from onaspr_core.pool.source_forms import open_listing


@dataclass(frozen=True)
class SourceRow:
    """One captioned video as its source lists it.

    `media` is where it should lie; nothing has looked yet. `extra` holds the columns that the pool does not
    use. `problem` says why the row cannot be used, if so; `id` is empty where the source gives none.
    """

    id: str
    caption: str
    media: Media
    licence: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def source_of(settings: PoolSettings, base: Path) -> Source:
    """Return the source that settings name; relative paths start from `base`, and none holds `..`."""
    videos = None if settings.videos is None else _plain(resolve(settings.videos, base))
    path = _plain(resolve(settings.path, base))
    return Source(settings.format, path, videos, settings.columns, settings.licence, settings.schemes)


def _plain(path: str) -> str:
    """A row's path that holds `..` is refused, so those of the settings must not bring one."""
    return path if is_url(path) else os.path.normpath(path)


def read_source(settings: PoolSettings, base: Path) -> Iterator[SourceRow]:
    """Yield the rows of a source in the order of its files; lines that cannot be read come last.

    Raises:
        UserError: when a file cannot be read or a column is missing; it names those that there are.
    """
    source = source_of(settings, base)
    with open_scan(source=source.path) as connection:
        listing = open_listing(connection, source)
        rows = every_row(connection, listing)
    for row in rows.to_pylist():
        yield SourceRow(
            id=row["id"] or "",
            caption=row["caption"],
            media=Media(row["path"], row["member"], row["start"], row["stop"]),
            licence=row["licence"],
            extra=json.loads(row["extra"] or "{}"),
            problem=row["problem"],
        )
