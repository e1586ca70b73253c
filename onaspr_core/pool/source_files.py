"""Content hashes of source media, remembered in the catalog, so that each is read once.

Local bytes are hashed. A file behind a URL is not downloaded for it: what its file system says of it, such as
an ETag, stands for its bytes. What does not belong here: opening media (`media`), and hashing (`digests`).
"""

import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import duckdb
import pyarrow as pa

from onaspr_core.folders import is_url
from onaspr_core.pool.digests import digests, why_unread
from onaspr_core.pool.media import Media, file_stamp, reading_order
from onaspr_core.progress import logger, track
from onaspr_core.workspace import Workspace

SECONDS_BETWEEN_COMMITS = 5.0
REQUESTS_AT_ONCE = 16

Part = tuple[str, str]
"""Path and member: the bytes that one hash is of, whatever span of them is meant."""

_HASHES = """create table if not exists media_hashes (
    path text, member text, stamp text, sha256 text, primary key (path, member))"""


class KnownMedia(NamedTuple):
    """A file, or a part of one, when it was read: the stamp of the file, and the SHA-256 of the bytes."""

    stamp: str
    sha256: str


class LookedAt(NamedTuple):
    """What came of looking at parts: the SHA-256 of each that could be read, why the others could not."""

    hashes: dict[Part, str]
    reasons: dict[Part, str]


class _Unseen(NamedTuple):
    """Why a file cannot be seen, and whether it may be there all the same."""

    reason: str
    passing: bool


def known_media(workspace: Workspace, media: Iterable[Media]) -> dict[Part, KnownMedia]:
    """Return what is remembered of media, by path and member."""
    return _known(workspace, {(one.path, one.member) for one in media})


def hash_media(workspace: Workspace, media: Iterable[Media]) -> dict[Media, str]:
    """Return the SHA-256 of the media that exist and can be read, as `look_at_parts` does.

    A span has the hash of its file.
    """
    by_part = [(one, (one.path, one.member)) for one in media]
    hashes = look_at_parts(workspace, (part for _, part in by_part)).hashes
    return {one: hashes[part] for one, part in by_part if part in hashes}


def look_at_parts(workspace: Workspace, parts: Iterable[Part]) -> LookedAt:
    """Return the SHA-256 of files or parts of files, or why there is none; what did not change is not read.

    Equal bytes have equal hashes wherever they lie, except behind URLs. What lies behind a URL that cannot be
    reached keeps the hash that it had.

    Args:
        workspace: Its catalog remembers.
        parts: Any number, of any kind, in any order.
    """
    wanted = set(parts)
    stamps, unseen = _stamps({path for path, _ in wanted})
    known = _known(workspace, wanted)
    hashes: dict[Part, str] = {}
    reasons: dict[Part, str] = {}
    fresh: list[Media] = []
    for part in wanted:
        path, _ = part
        remembered, problem = known.get(part), unseen.get(path)
        if remembered is not None and (
            remembered.stamp == stamps.get(path) if problem is None else problem.passing
        ):
            hashes[part] = remembered.sha256
        elif problem is not None:
            reasons[part] = problem.reason
        else:
            fresh.append(Media(*part))
    read, unread = _hash(workspace, sorted(fresh, key=reading_order), stamps)
    return LookedAt(hashes | read, reasons | unread)


def _known(workspace: Workspace, parts: Collection[Part]) -> dict[Part, KnownMedia]:
    with workspace.catalog.read() as connection:
        connection.register("asked", _table(list(parts), ("path", "member")))
        query = "select path, member, stamp, sha256 from media_hashes semi join asked using (path, member)"
        try:
            rows = connection.execute(query).fetchall()
        except duckdb.CatalogException:
            return {}
    return {(path, member): KnownMedia(stamp, sha256) for path, member, stamp, sha256 in rows}


def _hash(
    workspace: Workspace, fresh: Sequence[Media], stamps: dict[str, str]
) -> tuple[dict[Part, str], dict[Part, str]]:
    """Read and remember, so that a run that is killed loses seconds of it; hashes, and reasons for none."""
    hashes: dict[Part, str] = {}
    reasons: dict[Part, str] = {}
    pending: list[tuple[str, str, str, str]] = []
    committed = time.monotonic()
    with track("hashed pool media", len(fresh)) as advance:
        for one, sha256, reason in digests(fresh, stamps):
            if sha256:
                hashes[one.path, one.member] = sha256
                pending.append((one.path, one.member, stamps[one.path], sha256))
            else:
                reasons[one.path, one.member] = reason
            advance(1)
            if time.monotonic() - committed > SECONDS_BETWEEN_COMMITS:
                _remember(workspace, pending)
                pending, committed = [], time.monotonic()
    _remember(workspace, pending)
    if reasons:
        logger.warning("%d of %d pool media cannot be read", len(reasons), len(fresh))
    return hashes, reasons


def _stamps(paths: Iterable[str]) -> tuple[dict[str, str], dict[str, _Unseen]]:
    """The stamps of the files that can be seen, and why the others cannot."""
    stamps: dict[str, str] = {}
    unseen: dict[str, _Unseen] = {}

    def look(path: str) -> None:
        # The errors are not kept: of a hundred thousand the tracebacks would cost as much as the looks.
        try:
            stamps[path] = file_stamp(path)
        except OSError as problem:
            there = is_url(path) and not isinstance(problem, FileNotFoundError)
            unseen[path] = _Unseen(why_unread(problem, path, path), passing=there)

    remote = []
    for path in paths:
        if is_url(path):
            remote.append(path)
        else:
            look(path)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for _ in pool.map(look, remote):
            pass
    return stamps, unseen


def _remember(workspace: Workspace, rows: Sequence[tuple[str, str, str, str]]) -> None:
    if not rows:
        return
    with workspace.catalog.write() as connection:
        connection.execute(_HASHES)
        connection.register("fresh", _table(rows, ("path", "member", "stamp", "sha256")))
        connection.execute("insert or replace into media_hashes select * from fresh")


def _table(rows: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> pa.Table:
    return pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)})
