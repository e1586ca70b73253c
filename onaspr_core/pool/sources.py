"""Where pool videos and their captions come from: one reader per published form, one row type for all.

A row that is wrong is still a row, with its problem; only a file whose columns are wrong is an error. What
does not belong here: ranks, subsets, hashes (`manifest`), and opening any video (`video`).
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from onaspr_core.errors import UserError
from onaspr_core.paths import resolve

WEBVID_COLUMNS = ("videoid", "contentUrl", "duration", "page_dir", "name")
FOLDER_COLUMNS = ("file", "caption")


@dataclass(frozen=True)
class SourceRow:
    """One captioned video as its source lists it.

    `path` is where the file should lie; nothing has looked yet. `extra` holds the columns that the pool does
    not use. `problem` says why the row cannot be used, if so; `id` is empty where the source gives none.
    """

    id: str
    caption: str
    path: str
    extra: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


class CaptionedVideos(Protocol):
    """What a source is read by: a form, a table and a folder. Pools and benchmarks have all three."""

    @property
    def format(self) -> str:
        """A form that `read_source` knows."""
        ...

    @property
    def path(self) -> str:
        """Where the table of captions lies."""
        ...

    @property
    def videos(self) -> str:
        """Where the videos lie."""
        ...


def read_source(settings: CaptionedVideos, base: Path) -> Iterator[SourceRow]:
    """Yield the rows of a source in the order of its file.

    Args:
        settings: `format` "webvid" is a CSV `videoid,contentUrl,duration,page_dir,name` beside videos at
            `page_dir/videoid.mp4`; "folder" is a CSV with `file` and `caption` beside a folder of videos.
            Further columns travel along.
        base: The folder that relative paths in the settings start from.

    Raises:
        UserError: when the CSV cannot be read, a column is missing, or the folder of videos is not local.
    """
    table, root = resolve(settings.path, base), resolve(settings.videos, base)
    if "://" in table or "://" in root:
        raise UserError(f"source {table} with videos in {root}: both must lie on a local disk")
    if settings.format == "webvid":
        for number, cells in _table(table, WEBVID_COLUMNS):
            file = f"{cells['page_dir'] or ''}/{cells['videoid'] or ''}.mp4"
            yield _row(root, file, number, cells, id_column="videoid", caption_column="name")
    else:
        for number, cells in _table(table, FOLDER_COLUMNS):
            yield _row(root, cells["file"] or "", number, cells, id_column="file", caption_column="caption")


def _table(path: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Yield line number and cells of each row; bytes that are not UTF-8 become lone surrogates."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, restkey="")
            found = list(reader.fieldnames or ())
            missing = [column for column in columns if column not in found]
            if missing:
                raise UserError(
                    f"{path}: no column {', '.join(missing)}; found {', '.join(found) or 'an empty file'}; "
                    f"expected {', '.join(columns)}"
                )
            for cells in reader:
                cells.pop("", None)
                yield reader.line_num, cells
    except OSError as problem:
        raise UserError(f"{path}: the pool's table cannot be read: {problem.strerror}") from problem
    except csv.Error as problem:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV: {problem}") from problem


def _row(
    root: str, file: str, number: int, cells: dict[str, str | None], *, id_column: str, caption_column: str
) -> SourceRow:
    id_ = cells[id_column] or ""
    caption = " ".join((cells[caption_column] or "").split())
    path = os.path.normpath(f"{root}/{file}")
    problem = None
    if None in cells.values():
        problem = f"line {number} of the table has fewer columns than its header"
    elif any(text != _printable(text) for text in (id_, caption, file)):
        problem = "the row is not UTF-8"
    elif not caption:
        problem = "the caption is empty"
    elif not path.startswith(os.path.normpath(root) + os.sep):
        problem = f"the path {file} leads out of the folder of videos"
    extra = {name: _printable(value or "") for name, value in cells.items()}
    del extra[id_column], extra[caption_column]
    return SourceRow(_printable(id_).strip(), _printable(caption), _printable(path), extra, problem)


def _printable(text: str) -> str:
    """The text with every byte that was not UTF-8 as a question mark."""
    return text.encode("utf-8", "replace").decode()
