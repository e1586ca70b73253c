"""Content keys, and the content-addressed store that every stage writes its items to.

An item is a payload (video, latent, features …) and a record that says what it was made from. Its key is
the hash of everything that determines it, so an item that exists never has to be made again.

`python -m onaspr_core.artifacts verify` checks a whole store (`onaspr_core.verification`).
"""

import hashlib
import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from onaspr_core.errors import PlainError, UserError
from onaspr_core.folders import Answer, Folder, Item
from onaspr_core.sealing import sealed, unsealed
from onaspr_core.stored_kinds import asset_of
from onaspr_core.whole_files import PARTIAL

RECORD_SUFFIX = ".record.json"
MARK_SUFFIX = ".damaged"
"""The file that says why an item was set aside; it goes when the item is made again."""

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
    """Items by kind and content key, in a folder on a disk or at any fsspec URL.

    A payload is written whole; its record follows, and an item exists once its record does. A process killed
    at any moment leaves either the whole item or nothing that is read.

    Whoever reads an item checks it. A damaged one is set aside: it does not exist any more, until whatever
    makes it has made it again. `damaged` are those found here, by kind and key; `repaired` counts those that
    were written here again.
    """

    def __init__(self, url: str) -> None:
        """Name the store: a folder, or any URL that fsspec opens. Nothing is made before the first write."""
        self._folder = Folder(url)
        self.damaged: set[tuple[str, str]] = set()
        self.repaired = 0

    @property
    def place(self) -> str:
        """Where it lies: a path or URL."""
        return self._folder.place

    def has(self, kind: str, key: str) -> bool:
        """Say whether an item exists."""
        return self.is_known(kind, key) and not self._folder.has(_mark_name(kind, key))

    def is_known(self, kind: str, key: str) -> bool:
        """Say whether there is a record of an item, be it set aside or not."""
        return self._folder.has(_record_name(kind, key))

    def existing(self, kind: str, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that exist; one listing per first two digits, several at once where that
        is quicker, and not one call per key.

        An item whose payload is gone is set aside, and does not exist.
        """
        wanted, found = set(keys), set[str]()
        folders = sorted({f"{kind}/{key[:2]}" for key in keys})
        for names in self._folder.map(self._folder.names, folders):
            payloads = {name.partition("-")[0] for name in names if not name.endswith(PARTIAL)}
            recorded = wanted & _keys_among(names)
            found |= recorded & payloads
            found.update(key for key in recorded - payloads if self._has_payload(kind, key))
        return found

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        """Return the keys of all items of a kind that begin with these digits, sorted."""
        names = self._names(kind, prefix)
        return sorted(name.removesuffix(RECORD_SUFFIX) for name in names if name.endswith(RECORD_SUFFIX))

    def kinds(self) -> list[str]:
        """Return the kinds of items that there are, sorted."""
        return sorted(self._folder.names())

    def folders(self, kind: str) -> Iterator[tuple[list[str], int]]:
        """Yield the keys of a kind, folder by folder, with the number of items set aside in each."""
        for folder in sorted(self._folder.names(kind)):
            names = self._folder.names(f"{kind}/{folder}")
            yield sorted(_keys_among(names)), sum(name.endswith(MARK_SUFFIX) for name in names)

    def keys_of_content(self, kind: str, sha256: str) -> list[str]:
        """Return the keys of all items of a kind that have, or once had, a payload with this hash, sorted.

        An item that was made again has a record of its latest payload alone.
        """
        found = []
        for name in self._names(kind):
            key, _, rest = name.partition("-")
            if rest.startswith(f"{sha256[:8]}.") and self.is_known(kind, key):
                data = self._folder.read(f"{_stem(kind, key)}-{rest}")
                if hashlib.sha256(data).hexdigest() == sha256:
                    found.append(key)
        return sorted(found)

    def url(self, kind: str, key: str) -> str:
        """Return where an item's payload lies, as a path or URL."""
        return self._folder.path(_payload_name(kind, key, self.record(kind, key)))

    def peek(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return an item's record, None where it is damaged; nothing is set aside.

        Raises:
            FileNotFoundError: when there is no such item.
        """
        return unsealed(self._folder.read(_record_name(kind, key)))

    def open(self, kind: str, key: str, record: Mapping[str, Any]) -> BinaryIO:
        """Open the payload that a record tells of. Raises FileNotFoundError when it is gone."""
        return self._folder.open(_payload_name(kind, key, record))

    def record(self, kind: str, key: str) -> dict[str, Any]:
        """Return what an item was made from, with its size, checksum and suffix.

        Raises:
            UserError: when there is no such item, or its record is damaged.
        """
        try:
            record = self.peek(kind, key)
        except FileNotFoundError:
            raise UserError(
                f"{kind} {key} is not in the store {self._folder}; materialize {asset_of(kind)}"
            ) from None
        if record is None:
            path = self._folder.path(_record_name(kind, key))
            raise self.set_aside(kind, key, f"{path} is not as it was written")
        return record

    def set_aside(self, kind: str, key: str, why: str) -> UserError:
        """Mark an item as damaged, so that it does not exist until it is made again; its record stays.

        Returns:
            The error to raise: which item, why, and which asset makes it.
        """
        self.damaged.add((kind, key))
        record = None
        with suppress(FileNotFoundError):
            record = self.peek(kind, key)
        told = f"{kind} {key} in the store {self._folder} is damaged: {why}"
        try:
            self._put(_mark_name(kind, key), why.encode())
        except (OSError, PlainError) as problem:
            path = self._folder.path(_record_name(kind, key))
            return UserError(f"{told}, and it cannot be set aside ({problem}); delete {path}")
        return UserError(f"{told}; materialize {asset_of(kind, record)} to have it made again")

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
        self._put(_payload_name(kind, key, full), data)
        self._put(_record_name(kind, key), sealed(full))
        mark = _mark_name(kind, key)
        if self._folder.has(mark):
            # Where two runs make it again at once, one of them counts it; on an object store both may.
            with suppress(FileNotFoundError):
                self._folder.delete(mark)
                self.repaired += 1

    def read(self, kind: str, key: str) -> bytes:
        """Return an item's payload.

        Raises:
            UserError: when there is no such item, or its bytes are not those that were written.
        """
        why = ""
        # Between two looks another process may have made it again.
        for _ in range(2):
            record = self.record(kind, key)
            try:
                data = self._folder.read(_payload_name(kind, key, record))
            except FileNotFoundError:
                why = "its file is gone"
                continue
            if hashlib.sha256(data).hexdigest() == record["sha256"]:
                return data
            why = f"it has {len(data)} bytes that are not the {record.get('bytes', '')} that were written"
        raise self.set_aside(kind, key, why)

    def map(self, look: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield what `look`, which reads an item or two of this store, returns for each, in order.

        Where the store is far away, several are read at once.
        """
        return self._folder.map(look, items)

    def delete(self, kind: str, key: str) -> None:
        """Remove an item, its record first: what is left of a deletion that is ended half-way is not read."""
        folder = self._folder / f"{kind}/{key[:2]}"
        names = [name for name in folder.names() if name.startswith((f"{key}.", f"{key}-"))]
        for name in sorted(names, key=lambda name: not name.endswith(RECORD_SUFFIX)):
            folder.delete(name)

    def write_tensors(
        self, kind: str, key: str, tensors: Mapping[str, np.ndarray], record: Mapping[str, Any]
    ) -> None:
        """Store named arrays as safetensors.

        Raises:
            UserError: when one holds a value that is not finite.
        """
        if broken := _not_finite(tensors):
            raise UserError(f"{kind} {key} is not stored: {broken}")
        self.write(kind, key, ".safetensors", save_safetensors(dict(tensors)), record)

    def read_tensors(self, kind: str, key: str) -> dict[str, np.ndarray]:
        """Return the named arrays of an item that `write_tensors` stored.

        Raises:
            UserError: as `read`, when it is no safetensors file, and when a value is not finite.
        """
        tensors = self._parsed(kind, key, load_safetensors)
        if broken := _not_finite(tensors):
            raise self.set_aside(kind, key, broken)
        return tensors

    def write_json(self, kind: str, key: str, value: Any, record: Mapping[str, Any]) -> None:
        """Store a JSON value."""
        self.write(kind, key, ".json", json.dumps(value, indent=1, ensure_ascii=False).encode(), record)

    def read_json(self, kind: str, key: str) -> Any:
        """Return the value that `write_json` stored.

        Raises:
            UserError: as `read`, and when it is no JSON.
        """
        return self._parsed(kind, key, json.loads)

    def _parsed(self, kind: str, key: str, parse: Callable[[bytes], Answer]) -> Answer:
        """Read an item; set aside one whose bytes are as they were written and yet not of its form."""
        data = self.read(kind, key)
        try:
            return parse(data)
        except (SafetensorError, KeyError, ValueError, RecursionError) as problem:
            raise self.set_aside(kind, key, f"it cannot be read as what it is: {problem}") from problem

    def _has_payload(self, kind: str, key: str) -> bool:
        """Look for the payload of an item that a listing showed without one; set it aside if it has none."""
        with suppress(UserError):
            if self._folder.has(_payload_name(kind, key, self.record(kind, key))):
                return True
            self.set_aside(kind, key, "its file is gone")
        return False

    def _names(self, kind: str, prefix: str = "") -> Iterator[str]:
        """Names of all finished files of a kind whose keys begin with a prefix."""
        shelves = (prefix[:2],) if len(prefix) > 1 else self._folder.names(kind)
        folders = [f"{kind}/{shelf}" for shelf in shelves if shelf.startswith(prefix[:2])]
        for names in self._folder.map(self._folder.names, folders):
            yield from (n for n in names if n.startswith(prefix) and not n.endswith(PARTIAL))

    def _put(self, name: str, data: bytes) -> None:
        self._folder.write(name, data)


def _stem(kind: str, key: str) -> str:
    return f"{kind}/{key[:2]}/{key}"


def _record_name(kind: str, key: str) -> str:
    return f"{_stem(kind, key)}{RECORD_SUFFIX}"


def _mark_name(kind: str, key: str) -> str:
    return f"{_stem(kind, key)}{MARK_SUFFIX}"


def _payload_name(kind: str, key: str, record: Mapping[str, Any]) -> str:
    # The name holds the content's hash: where two runs make one item, each record keeps its bytes.
    return f"{_stem(kind, key)}-{record['sha256'][:8]}{record['suffix']}"


def _keys_among(names: Collection[str]) -> set[str]:
    """The keys of the items in a folder that are not set aside."""
    aside = {name.removesuffix(MARK_SUFFIX) for name in names if name.endswith(MARK_SUFFIX)}
    return {name.removesuffix(RECORD_SUFFIX) for name in names if name.endswith(RECORD_SUFFIX)} - aside


def _not_finite(tensors: Mapping[str, np.ndarray]) -> str:
    """Name the first array with a value that is not finite; empty where there is none."""
    broken = (name for name, array in tensors.items() if not np.isfinite(array).all())
    name = next(broken, None)
    return "" if name is None else f"{name} holds values that are not finite"


if __name__ == "__main__":
    from onaspr_core.verification import main

    sys.exit(main())
