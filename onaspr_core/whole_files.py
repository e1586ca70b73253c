"""Files that appear whole or not at all, whenever a process ends."""

import os
import uuid
from pathlib import Path

PARTIAL = ".partial"
"""How the name of a file ends that is being written; one that is left over is of no use."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there once it is on the disk; its folder is made.

    When this returns, file and name outlast a loss of power.

    Raises:
        OSError: when it cannot be written; what was there before then still is.
    """
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
