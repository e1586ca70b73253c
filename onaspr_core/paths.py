"""Where files lie: paths in settings, files inside installed packages, and the fingerprint of a folder."""

import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

from onaspr_core.errors import UserError
from onaspr_core.folders import is_url

PACKAGE_PREFIX = "package:"


def resolve(path: str, base: Path) -> str:
    """Turn a path as written in settings into one that can be opened.

    Args:
        path: `package:NAME/sub/path` (inside an installed package, which is not imported), a URL with a
            scheme (returned as it is), or a path, absolute or relative to `base`.
        base: The folder that relative paths start from.

    Raises:
        UserError: when the named package is not installed, or `~NAME` names no user.
    """
    if path.startswith(PACKAGE_PREFIX):
        name, _, inside = path.removeprefix(PACKAGE_PREFIX).partition("/")
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"{path}: the Python package {name!r} is not installed; run `pip install` for it")
        return str(Path(next(iter(spec.submodule_search_locations)), inside))
    if is_url(path):
        return path
    try:
        return str(base / Path(path).expanduser())
    except RuntimeError as problem:
        raise UserError(f"{path}: there is no such user: {problem}") from problem


def is_a_place(path: str) -> bool:
    """Say whether a path as written in settings can only be a place on this machine, not a hub id."""
    return path.startswith((PACKAGE_PREFIX, "/", ".", "~"))


def may_be_hub_id(path: str) -> bool:
    """Say whether a path as written in settings has the form of a hub id, OWNER/NAME."""
    owner, slash, name = path.partition("/")
    return (
        bool(owner and slash and name)
        and "/" not in name
        and ":" not in path
        and not owner.startswith((".", "~"))
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, read once per process while size and mtime stay."""
    stat = path.stat()
    return _file_sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _file_sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_fingerprint(folder: str | Path) -> str:
    """Return one hash over the names and bytes of a model's files below a folder.

    Hidden files (a hub's cache, version control) and Markdown (model cards) are no part of a model. Bytes are
    read once per process.

    Raises:
        UserError: when the folder does not exist or holds no file.
    """
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if _of_model(path, root)) if root.is_dir() else []
    if not files:
        raise UserError(f"{root}: no such folder, or it is empty; put the model's files there")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _of_model(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.is_file() and not hidden and path.suffix.lower() != ".md"
