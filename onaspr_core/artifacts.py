"""Content keys, and the content-addressed store that every stage writes its items to.

An item is a payload (video, latent, features …) and a record that says what it was made from. Its key is
the hash of everything that determines it, so an item that exists never has to be made again.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import numpy as np
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from onaspr_core.errors import UserError
from onaspr_core.whole_files import PARTIAL, write_whole

RECORD_SUFFIX = ".record.json"
ADDED = ("suffix", "bytes", "sha256")
"""What the store adds to an item's record."""


def canonical_json(value: Any) -> str:
    """Write a value so that equal values give equal text.

    Mappings are sorted by key, tuples are lists, 0.30 is 0.3, 1.0 is 1, -0.0 is 0, and an infinite
    number is the text "inf".

    Raises:
        ValueError: for NaN.
        TypeError: for anything JSON has no form for.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("NaN has no place in a content key")
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return int(value) if value.is_integer() else value
    return value


def content_key(kind: str, **inputs: Any) -> str:
    """Return the content key of an item: 40 hexadecimal digits.

    Args:
        kind: What the item is, such as "video".
        inputs: Everything that determines it.
    """
    return hashlib.sha256(f"{kind}\n{canonical_json(inputs)}".encode()).hexdigest()[:40]


class ArtifactStore:
    """Items by kind and content key, on any fsspec URL.

    A payload is written under a temporary name and moved; its record follows, and an item exists once its
    record does. A process killed at any moment leaves either the whole item or nothing that is read.
    """

    def __init__(self, url: str) -> None:
        """Name the store: a folder, or any URL that fsspec opens. Nothing is made before the first write."""
        self._filesystem, root = fsspec.core.url_to_fs(url)
        self._root = PurePosixPath(root)
        self._local = "file" in (
            (self._filesystem.protocol,)
            if isinstance(self._filesystem.protocol, str)
            else self._filesystem.protocol
        )

    def has(self, kind: str, key: str) -> bool:
        """Say whether an item exists."""
        return bool(self._filesystem.exists(self._record_path(kind, key)))

    def existing(self, kind: str, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that exist; one listing per first two digits, not one call per key."""
        found: set[str] = set()
        for prefix in {key[:2] for key in keys}:
            names = self._listed(self._root / kind / prefix)
            found.update(name.removesuffix(RECORD_SUFFIX) for name in names if name.endswith(RECORD_SUFFIX))
        return found.intersection(keys)

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        """Return the keys of all items of a kind that begin with these digits, sorted."""
        names = self._names(kind, prefix)
        return sorted(name.removesuffix(RECORD_SUFFIX) for name in names if name.endswith(RECORD_SUFFIX))

    def keys_of_content(self, kind: str, sha256: str) -> list[str]:
        """Return the keys of all items of a kind that have, or once had, a payload with this hash, sorted.

        An item that was made again has a record of its latest payload alone.
        """
        found = []
        for name in self._names(kind):
            key, _, rest = name.partition("-")
            if rest.startswith(f"{sha256[:8]}.") and self.has(kind, key):
                data = self._filesystem.cat_file(f"{self._stem(kind, key)}-{rest}")
                if hashlib.sha256(data).hexdigest() == sha256:
                    found.append(key)
        return sorted(found)

    def url(self, kind: str, key: str) -> str:
        """Return where an item's payload lies."""
        return self._payload_path(kind, key, self.record(kind, key))

    def record(self, kind: str, key: str) -> dict[str, Any]:
        """Return what an item was made from, with its size, checksum and suffix.

        Raises:
            UserError: when there is no such item, or its record is damaged.
        """
        path = self._record_path(kind, key)
        if not self._filesystem.exists(path):
            raise UserError(
                f"{kind} {key} is not in the store {self._root}; materialize the asset that makes it"
            )
        try:
            record = json.loads(self._filesystem.cat_file(path))
        except ValueError:
            record = None
        if not isinstance(record, dict) or not {"suffix", "sha256"} <= record.keys():
            raise UserError(f"{path} is damaged; delete it to have the {kind} made again")
        return record

    def write(self, kind: str, key: str, suffix: str, data: bytes, record: Mapping[str, Any]) -> None:
        """Store an item.

        Args:
            kind: What the item is.
            key: Its content key.
            suffix: The payload's file suffix, such as ".mp4".
            data: The payload.
            record: What it was made from; JSON values.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        full = {**record, **dict(zip(ADDED, (suffix, len(data), sha256), strict=True))}
        self._put(self._payload_path(kind, key, full), data)
        self._put(self._record_path(kind, key), json.dumps(full, indent=1, ensure_ascii=False).encode())

    def read(self, kind: str, key: str) -> bytes:
        """Return an item's payload.

        Raises:
            UserError: when there is no such item, or its bytes are not those that were written.
        """
        record = self.record(kind, key)
        path = self._payload_path(kind, key, record)
        data: bytes = self._filesystem.cat_file(path) if self._filesystem.exists(path) else b""
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            raise UserError(
                f"{path} is damaged or missing; delete {self._record_path(kind, key)} to have it made again"
            )
        return data

    def delete(self, kind: str, key: str) -> None:
        """Remove an item, its record first: what is left of a deletion that is ended half-way is not read."""
        folder = self._root / kind / key[:2]
        names = [name for name in self._listed(folder) if name.startswith((f"{key}.", f"{key}-"))]
        for name in sorted(names, key=lambda name: not name.endswith(RECORD_SUFFIX)):
            self._filesystem.rm_file(str(folder / name))

    def write_tensors(
        self, kind: str, key: str, tensors: Mapping[str, np.ndarray], record: Mapping[str, Any]
    ) -> None:
        """Store named arrays as safetensors."""
        self.write(kind, key, ".safetensors", save_safetensors(dict(tensors)), record)

    def read_tensors(self, kind: str, key: str) -> dict[str, np.ndarray]:
        """Return the named arrays of an item that `write_tensors` stored."""
        return dict(load_safetensors(self.read(kind, key)))

    def write_json(self, kind: str, key: str, value: Any, record: Mapping[str, Any]) -> None:
        """Store a JSON value."""
        self.write(kind, key, ".json", json.dumps(value, indent=1, ensure_ascii=False).encode(), record)

    def read_json(self, kind: str, key: str) -> Any:
        """Return the value that `write_json` stored."""
        return json.loads(self.read(kind, key))

    def _names(self, kind: str, prefix: str = "") -> Iterator[str]:
        """Names of all finished files of a kind whose keys begin with a prefix."""
        for folder in self._listed(self._root / kind):
            if folder.startswith(prefix[:2]):
                names = self._listed(self._root / kind / folder)
                yield from (n for n in names if n.startswith(prefix) and not n.endswith(PARTIAL))

    def _listed(self, folder: PurePosixPath) -> list[str]:
        path = str(folder)
        found = self._filesystem.ls(path, detail=False) if self._filesystem.exists(path) else []
        return [PurePosixPath(name).name for name in found]

    def _stem(self, kind: str, key: str) -> PurePosixPath:
        return self._root / kind / key[:2] / key

    def _record_path(self, kind: str, key: str) -> str:
        return f"{self._stem(kind, key)}{RECORD_SUFFIX}"

    def _payload_path(self, kind: str, key: str, record: Mapping[str, Any]) -> str:
        # The name holds the content's hash: where two runs make one item, each record keeps its bytes.
        return f"{self._stem(kind, key)}-{record['sha256'][:8]}{record['suffix']}"

    def _put(self, path: str, data: bytes) -> None:
        if not self._local:
            self._filesystem.pipe_file(path, data)
            return
        write_whole(Path(path), data)
