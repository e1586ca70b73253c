"""Folders on a disk or on an object store: one way to list, read and write them, by path or URL alone.

A file appears whole or not at all. On a disk it is written aside and moved; an object store shows an object
only once it has all of it, so there it is put under its own name at once. Listings are never kept from one
look to the next. Keys and addresses of an object store come from the environment, and what goes wrong there
is told as a StoreError. What LanceDB needs for the same places is here too.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.core import OpenFile, get_compression
from fsspec.implementations.local import LocalFileSystem

from onaspr_core.errors import PlainError, StoreError, UserError
from onaspr_core.whole_files import write_whole

AT_ONCE = 10
"""How many requests to an object store are under way at once, where there are many to make."""

OPENED_BY_LANCE = "s3://"
"""How URLs begin at which LanceDB keeps tables as safely as on a disk: two writers never lose a commit."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; create it, or correct `store.root` or the pool's `path`",
    "InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|InvalidClientTokenId": (
        "the keys are not accepted; set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there is one, "
        "AWS_SESSION_TOKEN to those that are valid now"
    ),
    "NoCredentials|PartialCredentials|CredentialsNotLoaded|ProfileNotFound": (
        "there are no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
    ),
    "AccessDenied|AllAccessDisabled|Forbidden|status: 403": (
        "these keys may not do that there; grant them s3:ListBucket on the bucket, and s3:GetObject, "
        "s3:PutObject and s3:DeleteObject on what lies in it"
    ),
    "RequestTimeTooSkewed": "the clock of this machine and that of the object store differ; set this one",
    "EndpointConnectionError|ConnectionClosed|ConnectTimeout|ReadTimeout|FSTimeout|kind: Connect|TimedOut": (
        "the object store does not answer; look at AWS_ENDPOINT_URL and at the network, then run again. What "
        "has been finished is kept"
    ),
}
"""What errors of object stores are called, by s3fs and by LanceDB, and what to do about them."""


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn what an object store refuses into a sentence: where, what, and what to do.

    Errors of a disk, and that a single file is not there, pass.

    Raises:
        StoreError: when the object store cannot be reached, has no such bucket, or refuses the keys.
    """
    try:
        yield
    except Exception as problem:
        one_file = isinstance(problem, FileNotFoundError) and "NoSuchBucket" not in _words(problem)
        if one_file or isinstance(problem, PlainError) or not is_url(place):
            raise
        remedy = _remedy(problem)
        if remedy is None:
            raise
        # What a server says may hold the keys that it was sent.
        raise StoreError(f"{place}: {remedy}") from None


def is_url(place: str) -> bool:
    """Say whether a place has a scheme, and so need not lie on a disk of this machine."""
    return "://" in place


def file_system(place: str) -> tuple[Any, str]:
    """Return fsspec's file system of a path or URL, and the path on it.

    What has no scheme is a path on a disk of this machine, whatever signs it holds. A file system keeps no
    listings, so that every look sees what is there now.

    Raises:
        UserError: when the URL's protocol is unknown, or its package is not installed.
    """
    if not is_url(place):
        return LocalFileSystem(), str(Path(place).absolute())
    try:
        filesystem, inside = fsspec.core.url_to_fs(place, use_listings_cache=False)
    except (ImportError, ValueError) as problem:
        raise UserError(
            f"{place} cannot be opened: {problem}; correct it, or install what it names"
        ) from problem
    return filesystem, inside


def to_read(place: str, *, unpacked: bool = False) -> OpenFile:
    """Return a context that opens a file by path or URL to read its bytes.

    `unpacked` gives those of a compressed file, as its suffix names the compression, as they were before.

    Raises:
        UserError: as `file_system` does; what opening raises comes when the context is entered.
    """
    filesystem, inside = file_system(place)
    return OpenFile(filesystem, inside, compression=get_compression(inside, "infer" if unpacked else None))


def lance_options(url: str) -> dict[str, str]:
    """Return what LanceDB must be told to open a URL as s3fs does; the rest it takes from the environment."""
    if not url.startswith(OPENED_BY_LANCE):
        return {}
    told = fsspec.config.conf.get("s3", {})
    client = told.get("client_kwargs", {})
    endpoint = told.get("endpoint_url") or client.get("endpoint_url") or _endpoint()
    options = {
        "aws_access_key_id": told.get("key"),
        "aws_secret_access_key": told.get("secret"),
        "aws_session_token": told.get("token"),
        "aws_region": client.get("region_name"),
        "aws_endpoint": endpoint,
        "allow_http": "true" if str(endpoint).startswith("http://") else None,
    }
    return {name: value for name, value in options.items() if value}


class Folder:
    """A folder by path or URL; nothing is opened or made before it is needed.

    Names of files are relative to it, with `/` between folders.
    """

    def __init__(self, place: str) -> None:
        """Name the folder."""
        self.place = place.rstrip("/")

    def __str__(self) -> str:
        """The path or URL."""
        return self.place

    def __truediv__(self, name: str) -> "Folder":
        """Return a folder inside."""
        return Folder(f"{self.place}/{name}")

    def path(self, name: str) -> str:
        """Return where a file lies, as a path or URL."""
        return f"{self.place}/{name}"

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk of this machine."""
        return isinstance(self._opened[0], LocalFileSystem)

    def names(self, inside: str = "") -> list[str]:
        """Return the names of what lies in the folder, or in one inside; nothing where there is none."""
        filesystem, root = self._opened
        with explained(self.place):
            try:
                found = filesystem.ls(f"{root}/{inside}".rstrip("/"), detail=False)
            except FileNotFoundError as problem:
                _raise_without_bucket(problem)
                return []
        return [one.rstrip("/").rpartition("/")[2] for one in found]

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file here and in folders inside, by path or URL."""
        filesystem, root = self._opened
        with explained(self.place):
            return {path: told["size"] for path, told in filesystem.find(root, detail=True).items()}

    def has(self, name: str) -> bool:
        """Say whether there is a file."""
        try:
            self.read(name, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return a file's bytes, or those from `start` to before `end` as far as it has them: one request.

        Raises:
            FileNotFoundError: when there is no such file.
        """
        filesystem, root = self._opened
        with explained(self.path(name)):
            try:
                data: bytes = filesystem.cat_file(f"{root}/{name}", start=start, end=end)
            except OSError as problem:
                if "InvalidRange" not in _words(problem):
                    raise
                return b""
        return data

    def found(self, name: str) -> bytes | None:
        """Return a file's bytes, None where there is no such file."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """Open a file; one of an object store is read into memory first.

        Raises:
            FileNotFoundError: when there is no such file.
        """
        if not self.is_local:
            return io.BytesIO(self.read(name))
        filesystem, root = self._opened
        file: BinaryIO = filesystem.open(f"{root}/{name}", "rb")
        return file

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; one of that name is replaced.

        Raises:
            UserError: when there is no room for it.
            StoreError: when the object store refuses it.
        """
        filesystem, root = self._opened
        if self.is_local:
            write_whole(Path(root, name), data)
            return
        with explained(self.path(name)):
            try:
                filesystem.pipe_file(f"{root}/{name}", data)
            except FileNotFoundError as problem:
                # Some file systems of other machines want folders made; an object store has none.
                _raise_without_bucket(problem)
                filesystem.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
                filesystem.pipe_file(f"{root}/{name}", data)

    def delete(self, name: str) -> None:
        """Delete a file.

        Raises:
            FileNotFoundError: when there is none; object stores do not tell.
        """
        filesystem, root = self._opened
        with explained(self.path(name)):
            filesystem.rm_file(f"{root}/{name}")

    def map(self, look: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield what `look`, which reads something here, returns for each item, in order.

        On an object store several are under way at once, since each waits for the network.
        """
        if self.is_local:
            yield from map(look, items)
            return
        with ThreadPoolExecutor(AT_ONCE) as readers:
            yield from readers.map(look, items)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system and the path on it."""
        return file_system(self.place)


def _raise_without_bucket(problem: FileNotFoundError) -> None:
    """Raise an error again that is not about one file."""
    if "NoSuchBucket" in _words(problem):
        raise problem


def _remedy(problem: BaseException) -> str | None:
    words = _words(problem)
    for pattern, remedy in _REMEDIES.items():
        if found := re.search(pattern, words):
            return f"{remedy} ({found[0]})"
    told = next(filter(None, map(_answer, _chain(problem))), "")
    return f"the object store answers {told}; run again. What has been finished is kept" if told else None


def _words(problem: BaseException) -> str:
    """What an error and those that caused it are called and say, with the codes of S3."""
    return "\n".join(f"{type(one).__name__} {_answer(one)} {one}" for one in _chain(problem))


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__


def _answer(problem: BaseException) -> str:
    """The code and the sentence of an error that S3 answered with; of others nothing."""
    response = getattr(problem, "response", None)
    told = response.get("Error") if isinstance(response, dict) else None
    return f"{told.get('Code')}: {told.get('Message')}" if isinstance(told, dict) else ""


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
