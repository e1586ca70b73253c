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
from pathlib import Path
from typing import Any

from onaspr_core.errors import UserError
from onaspr_core.folders import Folder
from onaspr_core.progress import logger
from onaspr_core.whole_files import PARTIAL

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
    """Store clips as one new shard: on return it is kept, whole, under its final name.

    Args:
        root: Folder or fsspec URL of all shards.
        clips: At least one; they are held in memory, so the caller bounds their bytes.
    """
    data = _tar(clips)
    name = f"clips-{hashlib.sha256(data).hexdigest()[:16]}.tar"
    Folder(root).write(name, data)
    return _places(name, io.BytesIO(data))


class DamagedClipError(UserError):
    """A clip whose bytes are not those that were written."""


def read_clip_bytes(root: str, place: Place) -> bytes:
    """Read one clip's MP4: a single range of its shard.

    Raises:
        UserError: when the shard is not there.
        DamagedClipError: when the bytes are not those that were written.
    """
    path = Folder(root).path(place.shard)
    try:
        data = Folder(root).read(place.shard, place.offset, place.offset + place.length)
    except FileNotFoundError:
        told = f"shard {path} is gone; bring it back, or materialize pool_clips to have its clips again"
        raise UserError(told) from None
    if len(data) != place.length:
        raise DamagedClipError(f"shard {path} is cut short; materialize pool_clips to have its clips again")
    if place.record.get("sha256") not in (None, hashlib.sha256(data).hexdigest()):
        raise DamagedClipError(
            f"clip {place.key} in shard {path} is damaged; materialize pool_clips to have it again"
        )
    return data


def index_shard(root: str, shard: str) -> list[Place]:
    """List the clips in a shard by reading it, for one that no catalog knows.

    Raises:
        UserError: when the file is not a whole shard.
    """
    try:
        with Folder(root).open(shard) as file:
            return _places(shard, file)
    except (*_BROKEN, FileNotFoundError) as problem:
        raise UserError(f"shard {shard} in {root} is not one that was written here: {problem}") from problem


def read_shard(root: str, shard: str) -> Iterator[Clip]:
    """Yield the clips of a shard in the order of its file, one at a time.

    Raises:
        UserError: when the file is gone or not a whole shard.
    """
    try:
        with Folder(root).open(shard) as file:
            yield from _clips(file)
    except (*_BROKEN, OSError) as problem:
        raise UserError(f"shard {shard} in {root} cannot be read: {problem}") from problem


def delete_shard(root: str, shard: str) -> None:
    """Delete a shard, if it is still there."""
    with suppress(FileNotFoundError):
        Folder(root).delete(shard)


def list_shards(root: str) -> set[str]:
    """Return the names of all finished shards."""
    return {name for name in Folder(root).names() if name.startswith("clips-") and name.endswith(".tar")}


def sweep_partials(root: str) -> None:
    """Delete what killed runs left half-written on a disk; what is younger than an hour may be another's."""
    folder = Path(root)
    for path in folder.glob(f"*{PARTIAL}") if Folder(root).is_local and folder.is_dir() else ():
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
