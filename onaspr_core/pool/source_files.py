"""Content hashes of source videos, remembered in the catalog by size and time, so that each is read once."""

import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from onaspr_core.paths import file_sha256
from onaspr_core.pool.media import Media
from onaspr_core.progress import track
from onaspr_core.workspace import Workspace

SECONDS_BETWEEN_COMMITS = 5.0

_FILES = """create table if not exists source_files (
    path text primary key, bytes bigint, mtime_ns bigint, sha256 text)"""


class KnownFile(NamedTuple):
    """A file as it was when it was read: size in bytes, modification time in ns, SHA-256."""

    bytes: int
    mtime_ns: int
    sha256: str


def known_files(workspace: Workspace) -> dict[str, KnownFile]:
    """Return every file that was ever hashed, by path."""
    rows = workspace.catalog.rows("select path, bytes, mtime_ns, sha256 from source_files")
    return {path: KnownFile(*known) for path, *known in rows or ()}


def hash_files(workspace: Workspace, paths: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the files that exist, by path; those that have not changed are not read."""
    stats = _stats(paths)
    known = known_files(workspace)
    hashes: dict[str, str] = {}
    fresh: list[str] = []
    for path, seen in stats.items():
        one = known.get(path)
        if one is not None and (one.bytes, one.mtime_ns) == (seen.st_size, seen.st_mtime_ns):
            hashes[path] = one.sha256
        else:
            fresh.append(path)
    pending: list[tuple[str, KnownFile]] = []
    committed = time.monotonic()
    with track("hashed pool files", len(fresh)) as advance:
        for path in fresh:
            hashes[path] = file_sha256(Path(path))
            pending.append((path, KnownFile(stats[path].st_size, stats[path].st_mtime_ns, hashes[path])))
            advance(1)
            if time.monotonic() - committed > SECONDS_BETWEEN_COMMITS:
                _remember(workspace, pending)
                pending, committed = [], time.monotonic()
    _remember(workspace, pending)
    return hashes


def _stats(paths: Iterable[str]) -> dict[str, os.stat_result]:
    found = {}
    for path in dict.fromkeys(paths):
        try:
            seen = os.stat(path)  # noqa: PTH116 (a Path for each of 100K files takes twice the time)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(seen.st_mode):
            found[path] = seen
    return found


def hash_media(workspace: Workspace, media: Iterable[Media]) -> dict[Media, str]:
    """Return the SHA-256 of the files that exist; here only of plain files on a local disk."""
    plain = [one for one in dict.fromkeys(media) if not one.member and "://" not in one.path]
    hashes = hash_files(workspace, [one.path for one in plain])
    return {one: hashes[one.path] for one in plain if one.path in hashes}


def _remember(workspace: Workspace, files: Sequence[tuple[str, KnownFile]]) -> None:
    if not files:
        return
    table = pa.Table.from_pylist([{"path": path, **known._asdict()} for path, known in files])
    with workspace.catalog.write() as connection:
        connection.execute(_FILES)
        connection.register("fresh", table)
        connection.execute("insert or replace into source_files select * from fresh")
