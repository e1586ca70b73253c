"""Where one video or image of a pool lies, and how its bytes are reached.

It is a file, a member of a tar or a cell of a Parquet file, and perhaps a span of a longer video. Worker
processes import this module, so it loads pyarrow only when a Parquet file is met. What does not belong here:
which media a pool has (`sources`), and decoding (`onaspr_core.media.decoding`).
"""

import io
import json
import os
import posixpath
import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, BinaryIO

from onaspr_core.errors import PassingError, UserError
from onaspr_core.folders import file_system, is_url

BYTES_AT_ONCE = 32 * 2**20
"""A member of a tar is one read of its range; a larger one is read as it is decoded."""

TARS_INDEXED = 8
"""How many tars' tables of members a process remembers."""

ROWS_AT_ONCE = 16
"""Cells of a Parquet file are read this many at a time, whatever the size of its row groups."""

_TELLING = (
    "size",
    "mtime",
    "ETag",
    "etag",
    "LastModified",
    "last_modified",
    "created",
    "checksum",
    "md5Hash",
)
"""What file systems say of a file that changes when it does."""


@dataclass(frozen=True)
class Media:
    """A place that bytes can be read from, and the span of them that is meant.

    `path` is a file or an fsspec URL. `member` names a part of it: a file in a tar, or `COLUMN/ROW` of a
    Parquet file, the row counted from 0; it is empty for the file itself. `start` and `stop` are seconds into
    the video, None for its ends.
    """

    path: str
    member: str = ""
    start: float | None = None
    stop: float | None = None

    def __str__(self) -> str:
        """For people: the path, then the part, then the span."""
        part = f"!{self.member}" if self.member else ""
        if self.start is None and self.stop is None:
            return f"{self.path}{part}"
        stop = "end" if self.stop is None else f"{self.stop:g} s"
        return f"{self.path}{part} [{self.start or 0:g} s … {stop}]"


def reading_order(media: Media) -> tuple[str, str, int]:
    """Return what to sort media by so that each file is read once, from its beginning to its end."""
    column, _, row = media.member.rpartition("/")
    return (
        (media.path, column, int(row))
        if is_parquet(media.path) and row.isdecimal()
        else (media.path, media.member, 0)
    )


def file_stamp(path: str) -> str:
    """Return what tells one state of a file from another: size and time, or what its file system says.

    Raises:
        OSError: when there is no such file, or it cannot be reached.
    """
    if not is_url(path):
        stat = os.stat(path)  # noqa: PTH116 (a Path for each of 100K files takes twice the time)
        return f"{stat.st_size} {stat.st_mtime_ns}"
    try:
        filesystem, inside = file_system(path)
        told = filesystem.info(inside)
    except OSError:
        raise
    except UserError as problem:
        raise OSError(str(problem)) from problem
    # File systems of other makers raise what their network libraries do.
    except Exception as problem:
        raise OSError(f"{type(problem).__name__}: {problem}") from problem
    return json.dumps({name: told[name] for name in _TELLING if told.get(name) is not None}, default=str)


def open_media(media: Media) -> AbstractContextManager[str | BinaryIO]:
    """Return a context that gives what can be decoded: a path or URL, or a binary file that can seek.

    Raises:
        UserError: when there is no such part, or the file that should hold it cannot be read as its name
            says; `PassingError` when there is no such file, or it cannot be reached.
    """
    if not media.member:
        return nullcontext(media.path)
    try:
        stamp = file_stamp(media.path)
        if is_parquet(media.path):
            return io.BytesIO(parquet_cell(media, stamp))
        return _open_range(media.path, *tar_members(media.path, stamp)[media.member])
    except KeyError:
        raise UserError(f"{media}: no such part: {media.path} has none of this name") from None
    except FileNotFoundError:
        raise PassingError(f"{media}: no such file") from None
    except OSError as problem:
        raise PassingError(f"{media}: cannot be read: {problem}") from problem
    except UserError:
        raise
    # File systems of other makers raise what their network libraries do.
    except Exception as problem:
        if not is_url(media.path):
            raise
        told = f"{type(problem).__name__}: {problem}"
        raise PassingError(f"{media}: cannot be read: {told}") from problem


def is_parquet(path: str) -> bool:
    """Say whether parts of a file are cells; if not, the file is a tar."""
    return path.endswith(".parquet")


@lru_cache(maxsize=TARS_INDEXED)
def tar_members(path: str, stamp: str) -> dict[str, tuple[int, int]]:
    """Return offset and length of every file in a tar, found in one pass over its headers.

    A name is a plain path: `./a.mp4` is `a.mp4`. Of a tar that was cut short, the members that are whole.

    Args:
        path: A file or fsspec URL.
        stamp: The `file_stamp` for which this is remembered.

    Raises:
        UserError: when it is no tar, or a compressed one.
    """
    members: dict[str, tuple[int, int]] = {}
    with _open(path) as file:
        try:
            for member in tar_files(file, path):
                members[posixpath.normpath(member.name)] = (member.offset_data, member.size)
        except UserError:
            if not members:
                raise
    return members


def tar_files(file: BinaryIO, path: str) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of the plain files that lie whole in a tar; links, devices and folders are left out.

    Args:
        file: The tar, which can seek.
        path: What errors call it.

    Raises:
        UserError: behind the last header that can be read, when it is no tar, a compressed or a damaged one.
    """
    size, reached = file.seek(0, io.SEEK_END), -1
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.size < 0 or member.offset_data <= reached:
                    raise tarfile.ReadError("a header leads back")
                reached = member.offset_data
                if member.isreg() and not member.issparse() and reached + member.size <= size:
                    yield member
            # The library takes a header that it cannot read for the end.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {tar.offset}")
    except OSError:
        raise
    # A broken header leads to ValueError, IndexError, RecursionError, MemoryError …
    except Exception as problem:
        raise UserError(f"{path}: unreadable tar: {str(problem) or type(problem).__name__}") from problem


def parquet_cell(media: Media, stamp: str) -> bytes:
    """Return the bytes of a cell: of a binary column, or of a struct with the field `bytes`.

    Rows asked for in rising order are read in one pass.

    Raises:
        UserError: when the file is no Parquet file or the cell holds no bytes.
        KeyError: when there is no such column or row.
    """
    column, _, row = media.member.rpartition("/")
    if not row.isdecimal():
        raise KeyError(media.member)
    value = _parquet_column(media.path, column, stamp).read(int(row))
    if isinstance(value, dict):
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise UserError(f"{media}: no bytes in the cell: it holds {type(value).__name__}")
    return value


class _ParquetColumn:
    """One column of a Parquet file, read forward a few rows at a time."""

    def __init__(self, path: str, column: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            self._file = parquet.ParquetFile(_open(path))
        except pa.ArrowException as problem:
            raise UserError(f"{path}: unreadable Parquet file: {problem}") from problem
        if column not in self._file.schema_arrow.names:
            raise KeyError(column)
        self._path, self._column, self._invalid = path, column, pa.ArrowException
        groups = self._file.metadata.num_row_groups
        self._ends = list(accumulate(self._file.metadata.row_group(i).num_rows for i in range(groups)))
        self._group = -1
        self._first = 0
        self._rows: list[Any] = []
        self._batches: Iterator[Any] = iter(())

    def read(self, row: int) -> Any:
        """Return a cell as a Python value.

        Raises:
            UserError: when the file is damaged.
            KeyError: when there is no such row.
        """
        group = bisect_right(self._ends, row)
        if row < 0 or group == len(self._ends):
            raise KeyError(row)
        if group != self._group or row < self._first:
            self._group, self._first = group, self._ends[group - 1] if group else 0
            self._rows = []
            self._batches = self._file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[self._column])
        while row >= self._first + len(self._rows):
            self._advance()
        return self._rows[row - self._first]

    def _advance(self) -> None:
        """Read the next rows; after a failure, the row group is begun anew."""
        group, self._group = self._group, -1
        try:
            rows = next(self._batches).column(0).to_pylist()
        except self._invalid as problem:
            raise UserError(f"{self._path}: unreadable Parquet file: {problem}") from problem
        self._first += len(self._rows)
        self._rows, self._group = rows, group


# A second file would hold a second row group's pages.
@lru_cache(maxsize=1)
def _parquet_column(path: str, column: str, stamp: str) -> _ParquetColumn:
    return _ParquetColumn(path, column)


def _open_range(path: str, offset: int, length: int) -> AbstractContextManager[BinaryIO]:
    if length > BYTES_AT_ONCE:
        return _open_long_range(path, offset, length)
    filesystem, inside = file_system(path)
    return io.BytesIO(filesystem.cat_file(inside, start=offset, end=offset + length))


@contextmanager
def _open_long_range(path: str, offset: int, length: int) -> Iterator[BinaryIO]:
    with _open(path) as file, io.BufferedReader(_Range(file, offset, length)) as part:
        yield part


def _open(path: str) -> Any:
    filesystem, inside = file_system(path)
    return filesystem.open(inside, "rb")


class _Range(io.RawIOBase):
    """A part of a file that reads and seeks like a file of its own."""

    def __init__(self, file: Any, offset: int, length: int) -> None:
        self._file, self._offset, self._length, self._at = file, offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._offset + self._at)
        data = self._file.read(max(0, min(len(buffer), self._length - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
