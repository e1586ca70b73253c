"""Shards: the WebDataset tars that clips lie in, readable by `webdataset`, by `tar`, and one clip at a time.

A shard holds `KEY.mp4`, `KEY.txt` and `KEY.json` of each clip, in this order. Shards are only ever added or
deleted, under a name made of their bytes, whole or not at all. What does not belong here: which clips exist
(`clip_catalog`), and when shards are merged or dropped (`compaction`).
"""

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from onaspr_core.errors import UserError
from onaspr_core.progress import logger
from onaspr_core.whole_files import PARTIAL, write_whole

SECONDS_UNTIL_ABANDONED = 3600.0
_BROKEN = (tarfile.TarError, KeyError, UnicodeDecodeError, json.JSONDecodeError)
"""What a file raises that was cut short, or is no shard at all."""


@dataclass(frozen=True)
class Clip:
    """A clip to be stored: MP4 bytes, the caption it was made with, and what it was made from."""

    key: str
    mp4: bytes
    caption: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a stored clip's MP4 lies: `length` bytes from `offset` of a shard."""

    key: str
    shard: str
    offset: int
    length: int
    record: Mapping[str, Any]


def write_shard(root: str, clips: Sequence[Clip]) -> list[Place]:
    """Store clips as one new shard: on return it is on the disk under its final name.

    Args:
        root: Folder or fsspec URL of all shards.
        clips: At least one; they are held in memory, so the caller bounds their bytes.
    """
    data = _tar(clips)
    name = f"clips-{hashlib.sha256(data).hexdigest()[:16]}.tar"
    filesystem, folder = fsspec.core.url_to_fs(root)
    path = PurePosixPath(folder, name)
    if _is_local(filesystem):
        write_whole(Path(path), data)
    else:
        filesystem.pipe_file(str(path), data)
    return _places(name, io.BytesIO(data))


def read_clip_bytes(root: str, place: Place) -> bytes:
    """Read one clip's MP4: a single range of its shard.

    Raises:
        UserError: when the shard is gone or shorter than it was.
    """
    filesystem, folder = fsspec.core.url_to_fs(root)
    path = str(PurePosixPath(folder, place.shard))
    try:
        data: bytes = filesystem.cat_file(path, start=place.offset, end=place.offset + place.length)
    except FileNotFoundError:
        data = b""
    if len(data) != place.length:
        raise UserError(f"shard {path} is gone or cut short; delete it and materialize pool_clips again")
    return data


def index_shard(root: str, shard: str) -> list[Place]:
    """List the clips in a shard by reading it, for one that no catalog knows.

    Raises:
        UserError: when the file is not a whole shard.
    """
    filesystem, folder = fsspec.core.url_to_fs(root)
    try:
        with filesystem.open(str(PurePosixPath(folder, shard)), "rb") as file:
            return _places(shard, file)
    except (*_BROKEN, FileNotFoundError) as problem:
        raise UserError(f"shard {shard} in {root} is not one that was written here: {problem}") from problem


def read_shard(root: str, shard: str) -> Iterator[Clip]:
    """Yield the clips of a shard in the order of its file, one at a time.

    Raises:
        UserError: when the file is gone or not a whole shard.
    """
    filesystem, folder = fsspec.core.url_to_fs(root)
    try:
        with filesystem.open(str(PurePosixPath(folder, shard)), "rb") as file:
            yield from _clips(file)
    except (*_BROKEN, OSError) as problem:
        raise UserError(f"shard {shard} in {root} cannot be read: {problem}") from problem


def delete_shard(root: str, shard: str) -> None:
    """Delete a shard, if it is still there."""
    filesystem, folder = fsspec.core.url_to_fs(root)
    with suppress(FileNotFoundError):
        filesystem.rm_file(str(PurePosixPath(folder, shard)))


def list_shards(root: str) -> set[str]:
    """Return the names of all finished shards."""
    filesystem, folder = fsspec.core.url_to_fs(root)
    found = filesystem.ls(folder, detail=False) if filesystem.exists(folder) else []
    names = {PurePosixPath(path).name for path in found}
    return {name for name in names if name.startswith("clips-") and name.endswith(".tar")}


def sweep_partials(root: str) -> None:
    """Delete what killed runs left half-written; a file younger than an hour may be another run's."""
    folder = Path(root)
    for path in folder.glob(f"*{PARTIAL}") if folder.is_dir() else ():
        if time.time() - path.stat().st_mtime > SECONDS_UNTIL_ABANDONED:
            logger.info("deleting %s, left half-written by a run that was ended", path)
            path.unlink(missing_ok=True)


def _tar(clips: Sequence[Clip]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in clips:
            record = json.dumps(dict(clip.record), ensure_ascii=False, sort_keys=True).encode()
            for suffix, data in (("mp4", clip.mp4), ("txt", clip.caption.encode()), ("json", record)):
                member = tarfile.TarInfo(f"{clip.key}.{suffix}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _clips(file: Any) -> Iterator[Clip]:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        parts: dict[str, bytes] = {}
        for member in tar:
            key, _, suffix = member.name.rpartition(".")
            data = tar.extractfile(member)
            parts[suffix] = data.read() if data else b""
            if suffix == "json":
                yield Clip(key, parts["mp4"], parts["txt"].decode(), json.loads(parts["json"]))
                parts = {}


def _places(shard: str, file: Any) -> list[Place]:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        members = {member.name: member for member in tar.getmembers()}
        places = []
        for name, member in members.items():
            key, _, suffix = name.rpartition(".")
            if suffix == "mp4":
                record = tar.extractfile(members[f"{key}.json"])
                assert record is not None
                made_from = json.loads(record.read())
                places.append(Place(key, shard, member.offset_data, member.size, made_from))
    return places


def _is_local(filesystem: Any) -> bool:
    return isinstance(filesystem, fsspec.implementations.local.LocalFileSystem)
