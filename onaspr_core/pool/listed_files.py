"""The files that a source's `path` names: one, those of a folder, or those of a pattern, here or at a URL.

What does not belong here: what is in them (`tables`, `source_forms`).
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from onaspr_core.errors import UserError
from onaspr_core.folders import Folder, file_system, is_url
from onaspr_core.pool.media import file_stamp
from onaspr_core.pool.texts import storable

COMPRESSED = (".gz", ".zst")


def listed_files(path: str, suffixes: Sequence[str]) -> list[str]:
    """Return the files that a path names, in the order of their names.

    Args:
        path: A file, a folder, or a pattern with `*`, `?` or `[…]`; local, or a URL.
        suffixes: Which files of a folder count, such as ".csv".

    Raises:
        UserError: when there is none.
    """
    filesystem, inside = file_system(path)
    try:
        if filesystem.isfile(inside):
            return [path]
        pattern = f"{inside.rstrip('/')}/*" if filesystem.isdir(inside) else inside
        found = sorted(str(one) for one in filesystem.glob(pattern))
        if pattern != inside:
            found = [one for one in found if kind_of(one) in suffixes]
    except OSError as problem:
        raise UserError(f"{path}: the pool's table cannot be read: {problem}") from problem
    if not found:
        expected = f"a file or a folder with files {', '.join(suffixes)}"
        raise UserError(f"{path}: there is no such file; expected {expected}")
    if odd := [one for one in found if storable(one) != one]:
        raise UserError(f"{path}: the name of {storable(odd[0])} is not UTF-8; rename it")
    return [url_of(filesystem, path, one) for one in found]


def distinct_names(files: Sequence[str]) -> list[str]:
    """Return what to call each file: its own name, or where names repeat, its path from the folder of all."""
    names = [PurePosixPath(file).name for file in files]
    if len(set(names)) == len(names):
        return names
    parts = [file.split("/") for file in files]
    folders = zip(*(own[:-1] for own in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda each: len(set(each)) == 1, folders))
    return ["/".join(own[shared:]) for own in parts]


def kind_of(path: str) -> str:
    """Return a file's suffix in small letters, before that of a compression."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    while suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def is_folder(path: str) -> bool:
    """Say whether a path or URL is a folder."""
    filesystem, inside = file_system(path)
    return bool(filesystem.isdir(inside))


def files_below(path: str) -> list[str]:
    """Return all files below a folder, in the order of their names."""
    filesystem, inside = file_system(path)
    return [url_of(filesystem, path, one) for one in sorted(map(str, filesystem.find(inside)))]


def exists(path: str) -> bool:
    """Say whether there is a file at a path or URL."""
    filesystem, inside = file_system(path)
    return bool(filesystem.exists(inside))


def stamp(files: Sequence[str]) -> str | None:
    """Return a hash of the names and states of files; None where a file system tells nothing but sizes.

    Raises:
        OSError: when one of them is gone.
    """
    stamps = Folder(files[0]).map(file_stamp, files)
    seen = [[path, told] for path, told in zip(files, stamps, strict=True)]
    if any(is_url(path) and json.loads(told).keys() <= {"size"} for path, told in seen):
        return None
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def url_of(filesystem: Any, path: str, inside: str) -> str:
    """Return the path or URL of what a file system calls `inside`, spelled as the files it lists are.

    `path` is any path or URL on the same file system.
    """
    if isinstance(filesystem, LocalFileSystem):
        return inside
    if is_url(inside):
        return inside
    return f"{path.partition('://')[0]}://{inside.lstrip('/')}"
