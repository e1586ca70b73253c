"""SHA-256 of media that may be anything: parts of foreign files are read in a process that can be killed.

What does not belong here: what is remembered of media (`source_files`).
"""

import errno
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from onaspr_core.errors import UserError
from onaspr_core.folders import is_url
from onaspr_core.paths import file_sha256
from onaspr_core.pool.media import Media, open_media
from onaspr_core.pool.workers import MEMORY_PER_PROCESS, SECONDS_PER_FILE, run_jobs, told_of_lost

FILES_AT_ONCE = 2
FILES_PER_TURN = 256

MOST_LOST = 3
"""Of a file over which so many processes were lost, no further part is read."""


class Digest(NamedTuple):
    """The SHA-256 of a file or a part of one, or why there is none."""

    media: Media
    sha256: str
    reason: str = ""


class _Job(NamedTuple):
    media: Media
    stamp: str


def digests(media: Sequence[Media], stamps: Mapping[str, str]) -> Iterator[Digest]:
    """Yield the digest of each, in any order; parts of a file are read in the order that they are given in.

    What lies behind a URL is not read: its place and its file's stamp stand for its bytes.

    Args:
        media: Spans do not count.
        stamps: The `file_stamp` of each path.
    """
    parts, files = list[_Job](), list[_Job]()
    for one in media:
        (parts if one.member and not is_url(one.path) else files).append(_Job(one, stamps[one.path]))
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for start in range(0, len(files), FILES_PER_TURN):
            yield from pool.map(digest, files[start : start + FILES_PER_TURN])
    yield from _of_parts(parts)


def digest(job: _Job) -> Digest:
    """Return the digest of one of the media. Raises nothing."""
    media, stamp = job
    if is_url(media.path):
        stands_for_it = f"{media.path}\n{media.member}\n{stamp}"
        return Digest(media, hashlib.sha256(stands_for_it.encode()).hexdigest())
    try:
        if (path := Path(media.path)).exists() and not (path.is_file() or path.is_dir()):
            # Whoever reads a pipe or a device may wait for ever.
            raise OSError(errno.EINVAL, "it is no plain file")
        with open_media(media) as source:
            if isinstance(source, str):
                return Digest(media, file_sha256(Path(source)))
            return Digest(media, _sha256(source))
    # What reads Parquet raises errors of its own, and a damaged file may ask for all memory.
    except Exception as problem:
        return Digest(media, "", why_unread(problem, str(media), media.path))


def why_unread(problem: Exception, place: str, path: str) -> str:
    """Return why there is no digest; what is wrong comes first, so that reasons can be counted."""
    if isinstance(problem, FileNotFoundError):
        return f"there is no file {place}"
    if isinstance(problem, UserError):
        return str(problem).removeprefix(f"{place}: ").removeprefix(f"{path}: ")
    words = problem.strerror if isinstance(problem, OSError) else None
    return f"the file cannot be read: {words or problem or type(problem).__name__}"


def _sha256(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _of_parts(jobs: Sequence[_Job]) -> Iterator[Digest]:
    """Each part, read by one process, so that a file is read once."""
    losses, left = Counter[str](), list[_Job]()

    def wanted() -> Iterator[_Job]:
        for job in jobs:
            if losses[job.media.path] < MOST_LOST:
                yield job
            else:
                left.append(job)

    def lost(job: _Job, how: str) -> Digest:
        losses[job.media.path] += 1
        return Digest(job.media, "", told_of_lost(how, SECONDS_PER_FILE))

    found = run_jobs(wanted(), digest, lost, processes=1, seconds=SECONDS_PER_FILE, memory=MEMORY_PER_PROCESS)
    yield from (one for one in found if one is not None)
    for job in left:
        yield Digest(job.media, "", f"not read: {MOST_LOST} other parts of its file ended their process")
