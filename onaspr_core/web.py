"""fsspec's file system of http and https, which does not lead into private networks and ends in time.

`onaspr_core` registers it with fsspec, so that whatever opens such a URL here goes through it, worker
processes and DuckDB too. An address is looked at when its connection is made, that of each redirect as well,
so that no name can come to mean another one in between. What does not belong here: which schemes a pool's
rows may name (`pool.listings`), and files of a known content (`downloads`).
"""

import asyncio
import errno
import socket
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType
from fsspec.implementations.http import HTTPFileSystem

from onaspr_core.addresses import is_allowed, refusal
from onaspr_core.errors import PassingError

TIMES = aiohttp.ClientTimeout(total=300, sock_connect=20, sock_read=30)
"""Seconds that one answer may take in all, a connection, and a silence."""

LARGEST_ANSWER = 2**30
"""Bytes that one answer may have where it is read at once; files are read in pieces of a few MB."""

BYTES_AT_ONCE = 2**20


class _PrivateAddressError(OSError):
    """A connection that was not made; its text is the same for every address, for aiohttp to pass it on."""

    def __init__(self, address: str) -> None:
        super().__init__(errno.EACCES, "the address is private")
        self.address = address


class PublicWeb(HTTPFileSystem):  # type: ignore[misc]
    """Files behind http and https URLs.

    Raises:
        PassingError: for a URL that leads into a private network, by itself or by a redirect.
        OSError: for a server that does not answer; FileNotFoundError only where it says that there is none.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of fsspec's own."""
        super().__init__(**{"get_client": _client, **options})

    async def _info(self, url: str, **options: Any) -> dict[str, Any]:
        """What the server says of a file; fsspec's own calls every trouble a missing file."""
        try:
            info: dict[str, Any] = await super()._info(url, **options)
        except FileNotFoundError as problem:
            cause = problem.__cause__
            gone = isinstance(cause, aiohttp.ClientResponseError) and cause.status in (404, 410)
            if cause is None or gone or isinstance(cause, FileNotFoundError):
                raise
            if isinstance(cause, PassingError):
                raise cause from None
            raise OSError(f"{type(cause).__name__}: {cause}") from cause
        return info


class _Answer(aiohttp.ClientResponse):
    """An answer of bounded length, which is the piece that was asked for."""

    async def read(self) -> bytes:
        """Return the body.

        Raises:
            PassingError: when it is too long, or the whole file in place of a piece.
        """
        asked = self.request_info.headers.get("Range", "bytes=0-")
        if self.status == 200 and not asked.startswith("bytes=0-"):
            raise PassingError(f"{self.url}: the server gives no pieces of a file; copy the file to a disk")
        if self._body is None:
            body = bytearray()
            async for piece in self.content.iter_chunked(BYTES_AT_ONCE):
                body += piece
                if len(body) > LARGEST_ANSWER:
                    self.close()
                    raise PassingError(
                        f"{self.url}: an answer of more than {LARGEST_ANSWER:,} bytes; copy it to a disk"
                    )
            self._body = bytes(body)
        return await super().read()


async def _client(loop: asyncio.AbstractEventLoop | None = None, **options: Any) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(socket_factory=_socket, loop=loop)
    told = {"timeout": TIMES, "response_class": _Answer, "middlewares": (_refusals_told,), **options}
    return aiohttp.ClientSession(connector=connector, loop=loop, **told)


def _socket(info: Any) -> socket.socket:
    """The socket of a connection that is about to be made."""
    family, kind, protocol, _, address = info
    if not is_allowed(str(address[0])):
        raise _PrivateAddressError(str(address[0]))
    return socket.socket(family=family, type=kind, proto=protocol)


async def _refusals_told(request: aiohttp.ClientRequest, send: ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request; errors of aiohttp's would be taken for a missing file."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError as problem:
        if isinstance(problem.os_error, _PrivateAddressError):
            told = refusal(str(request.url), str(request.url.host), problem.os_error.address)
            raise PassingError(told) from problem
        raise
