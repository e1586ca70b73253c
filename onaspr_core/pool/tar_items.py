"""What lies in tars, found in a process of its own, since a tar may be anything: items, or their first video.

What does not belong here: reading headers (`media`), and what becomes of the items (`webdataset`).
"""

import posixpath
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from onaspr_core.errors import PassingError, UserError
from onaspr_core.folders import is_url, to_read
from onaspr_core.pool.media import tar_files
from onaspr_core.pool.text_tables import json_object
from onaspr_core.pool.texts import LONGEST_TEXT, decoded, storable
from onaspr_core.pool.workers import MEMORY_PER_PROCESS, run_jobs, told_of_lost

SECONDS_PER_TAR = 600.0
"""A tar whose headers take longer to read is given up. Ten thousand on a disk take a second."""

VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif", ".webp", ".jpg", ".jpeg", ".png")
ITEM = ("key", "caption", "suffix", "unread", "line")


@dataclass(frozen=True)
class SeenTar:
    """A tar that was looked into: its items, the suffix of its first video, and why there are no more.

    Each item has the values that `ITEM` names: `suffix` is that of its video, `unread` says why its caption
    cannot be used, `line` is its JSON. `passing` says that the reason lies in the way to the tar, and not in
    the tar.
    """

    tar: str
    items: Sequence[Sequence[str | None]] = ()
    suffix: str | None = None
    problem: str = ""
    passing: bool = False


def look_into(tars: Sequence[str], look: Callable[[str], SeenTar]) -> Iterator[SeenTar]:
    """Yield what `look`, one of the functions below, sees of each tar, in their order.

    A tar over which the process crashes or hangs is one with a problem.

    Raises:
        PassingError: when a tar behind a URL cannot be reached.
    """
    found = run_jobs(tars, look, _lost, processes=1, seconds=SECONDS_PER_TAR, memory=MEMORY_PER_PROCESS)
    for seen in found:
        if seen is not None and seen.passing:
            raise PassingError(f"{seen.tar}: {seen.problem}")
        if seen is not None:
            yield seen


def all_items(tar: str) -> SeenTar:
    """Return all items of a tar. Raises nothing."""
    return _seen(tar, lambda file, rows: _items(tar, file, rows))


def first_video(tar: str) -> SeenTar:
    """Return the suffix of the first video in a tar, which all of a tar have. Raises nothing."""
    return _seen(tar, lambda file, _: _first_video(tar, file))


def _members(tar: str, file: Any) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, suffix and header of each file; a key ends at the first dot of a name, as WebDataset has it."""
    for member in tar_files(file, tar):
        folder, name = posixpath.split(posixpath.normpath(member.name))
        stem, dot, suffix = name.partition(".")
        # Hidden files have no key, and are no items.
        if stem:
            yield posixpath.join(folder, stem), f"{dot}{suffix}", member


def _seen(tar: str, look: Callable[[Any, list[dict[str, str | None]]], str | None]) -> SeenTar:
    rows: list[dict[str, str | None]] = []
    suffix, problem, passing = None, "", False
    try:
        with to_read(tar) as file:
            suffix = look(file, rows)
    except UserError as wrong:
        problem, passing = str(wrong).removeprefix(f"{tar}: "), isinstance(wrong, PassingError)
    except MemoryError:
        rows.clear()
        problem = "its names and captions take too much memory"
    except Exception as wrong:
        problem = f"cannot be read: {getattr(wrong, 'strerror', None) or f'{type(wrong).__name__}: {wrong}'}"
        # File systems of other makers raise what their network libraries do.
        passing = is_url(tar) and not isinstance(wrong, FileNotFoundError)
    if rows and problem:
        problem += "; what follows is left out"
    return SeenTar(tar, [tuple(row[name] for name in ITEM) for row in rows], suffix, problem, passing)


def _lost(tar: str, how: str) -> SeenTar:
    return SeenTar(tar, problem=told_of_lost(how, SECONDS_PER_TAR))


def _first_video(tar: str, file: Any) -> str | None:
    for _, members in groupby(_members(tar, file), lambda member: member[0]):
        if found := _video([suffix for _, suffix, _ in members]):
            return found
    return None


def _video(suffixes: Sequence[str]) -> str | None:
    """Which of an item's suffixes is that of its video: a video goes before a picture of it."""
    found = {suffix.lower(): suffix for suffix in suffixes}
    return next((found[suffix] for suffix in VIDEOS if suffix in found), None)


def _items(tar: str, file: Any, rows: list[dict[str, str | None]]) -> None:
    """Add the items of a tar to rows, those before a header that cannot be read as well."""
    found: dict[str, dict[str, str | None]] = {}
    suffixes: dict[str, list[str]] = {}
    problems: dict[tuple[str, str], str | None] = {}
    try:
        for key, suffix, member in _members(tar, file):
            item = found.setdefault(key, dict.fromkeys(ITEM))
            suffixes.setdefault(key, []).append(suffix)
            if suffix.lower() in (".txt", ".json"):
                file.seek(member.offset_data)
                column = "caption" if suffix.lower() == ".txt" else "line"
                data = file.read(min(member.size, LONGEST_TEXT + 1))
                item[column], problems[key, column] = decoded(data, f"{storable(key)}{suffix}")
    finally:
        for key, item in found.items():
            item["key"], item["suffix"] = storable(key), _video(suffixes[key])
            item["unread"] = problems.get((key, "line" if item["caption"] is None else "caption"))
            if item["key"] != key:
                item["unread"] = "its name is not UTF-8"
            if item["caption"] is None and item["line"]:
                item["caption"] = _caption(item["line"])
            rows.append(item)


def _caption(line: str) -> str | None:
    caption = json_object(line).get("caption")
    return storable(caption) if isinstance(caption, str) else None
