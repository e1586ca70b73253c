"""A project to take bad input in: what may be touched, and what is noticed when more is."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

STORE = "store"
"""The only folder of a case's project in which anything may be made."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_CHANGES = {
    # The path that is changed, and the descriptor of the folder that it may start from.
    **dict.fromkeys(("os.remove", "os.rmdir"), (0, 1)),
    **dict.fromkeys(("os.mkdir", "os.chmod"), (0, 2)),
    **dict.fromkeys(("os.rename", "os.link"), (1, 3)),
    "os.symlink": (1, 2),
    "os.truncate": (0, None),
}
_CONNECTIONS = ("socket.connect", "socket.sendto", "socket.getaddrinfo")
_touched: list[str] | None = None
"""What was touched since a source began to be taken in; None where nobody watches."""


def _audit(event: str, told: tuple[Any, ...]) -> None:
    if _touched is None:
        return
    if event == "open":
        path, mode, flags = told
        if any(sign in (mode or "") for sign in "wax+") or flags & _WRITING:
            _note(path)
    elif event in _CHANGES:
        path, folder = _CHANGES[event]
        _note(told[path], told[folder] if folder is not None and len(told) > folder else -1)
    elif event in _CONNECTIONS:
        _touched.append(f"{event} {told[1:]}")


def _note(path: str | bytes | int, folder: int = -1) -> None:
    assert _touched is not None
    if not isinstance(path, int):
        start = Path.cwd() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
        _touched.append(str(Path(start, os.fsdecode(path)).resolve()))


@cache
def _watch() -> None:
    sys.addaudithook(_audit)


@contextmanager
def sandbox(folder: Path) -> Iterator[Path]:
    """A project's folder, beside one for temporary files and one to stand in; both must stay empty."""
    global _touched
    _watch()
    project, temporary, beside = (folder / name for name in ("project", "temporary", "beside"))
    for each in (project, temporary, beside):
        each.mkdir(parents=True)
    before, home = Path.cwd(), os.environ.get("HOME")
    os.chdir(beside)
    os.environ["HOME"], tempfile.tempdir = str(beside), str(temporary)
    try:
        yield project
    finally:
        touched, _touched = _touched or [], None
        os.chdir(before)
        os.environ["HOME"] = home or ""
    outside = {path for path in touched if not _allowed(path, project, temporary)}
    left = sorted(str(path) for each in (temporary, beside) for path in each.rglob("*"))
    assert not outside and not left, f"touched outside of the store: {sorted(outside)}, left: {left}"


@contextmanager
def taking_in(project: Path) -> Iterator[None]:
    """Watch what is done while a source is taken in, and that it is as it was afterwards."""
    global _touched
    before, _touched = _files(project), []
    yield
    assert _files(project) == before, "the source was changed"


def _allowed(path: str, project: Path, temporary: Path) -> bool:
    own = (str(project / STORE), f"{temporary}/", "/dev/null")
    return path.startswith(own) or "__pycache__" in path


def _files(project: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in project.rglob("*")
        if STORE not in path.relative_to(project).parts[:1]
    }
