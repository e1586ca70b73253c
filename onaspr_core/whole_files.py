"""Files that appear whole or not at all, whenever a process ends."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onaspr_core.errors import PlainError, UserError

PARTIAL = ".partial"
"""How the name of a file ends that is being written; one that is left over is of no use."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ROOM_TOLD = ("no space left on device", "disk quota exceeded")
"""What databases say, whose errors have no number."""


@contextmanager
def told_where_there_is_no_room(path: Path | str) -> Iterator[None]:
    """Turn the error of a full disk, whichever library raises it, into a sentence with a path.

    Raises:
        UserError: when what is done inside finds no room on the disk.
    """
    try:
        yield
    except PlainError:
        raise
    except Exception as problem:
        told = str(problem).lower()
        if getattr(problem, "errno", None) not in NO_ROOM and not any(one in told for one in _NO_ROOM_TOLD):
            raise
        raise UserError(
            f"{path} cannot be written: the disk is full, or a quota is; make room there and run again. What "
            "has been finished is kept"
        ) from problem


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there once it is on the disk; its folder is made.

    When this returns, file and name outlast a loss of power.

    Raises:
        UserError: when the disk is full.
        OSError: when it cannot be written for another reason.
            After both, what was there before still is.
    """
    with told_where_there_is_no_room(path):
        _write_whole(path, data)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
