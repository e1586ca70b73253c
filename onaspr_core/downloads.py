"""A file behind a URL whose content is known beforehand: downloaded once, checked, kept.

Models of a hub are the concern of `backbones.hub`. Imports no torch.
"""

import hashlib
import uuid
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2

from onaspr_core.addresses import is_allowed, private_address, refusal
from onaspr_core.errors import PassingError, UserError
from onaspr_core.paths import file_sha256
from onaspr_core.progress import logger

SECONDS = 60.0
"""How long a server may be silent."""

LARGEST = 2**34
"""Bytes; a longer file is no network, and is given up."""


def downloaded(url: str, sha256: str) -> Path:
    """Return the local copy of a file, downloaded the first time, under the name that the URL ends in.

    It lies in the hub's cache folder (HF_HOME), under its SHA-256; a copy that is damaged is downloaded
    again. The file appears there whole and checked, or not at all.

    Raises:
        UserError: for a URL that is not http or https, one that the server does not have, one that leads into
            a private network, content with another SHA-256, and a folder that cannot be written;
            `PassingError` when the server cannot be reached or breaks off.
    """
    address = urlsplit(url)
    name = PurePosixPath(unquote(address.path)).name
    if address.scheme not in ("http", "https") or not name:
        raise UserError(
            f"{url}: only http and https URLs of a file are downloaded; put the file on this disk"
        )
    file = _folder() / sha256 / name
    if file.is_file() and file_sha256(file) == sha256:
        return file
    partial = file.with_name(f".{uuid.uuid4().hex}.partial")
    logger.info("downloading %s", url)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        found = _fetch(url, partial)
        if found != sha256:
            raise UserError(
                f"{url}: what is there has SHA-256 {found}, and {sha256} is asked for; it is another file, "
                "or was changed on its way: find out which, then correct the URL or the hash"
            )
        partial.replace(file)
    except OSError as problem:
        raise UserError(f"{url}: {file} cannot be written: {problem.strerror or problem}") from problem
    finally:
        with suppress(OSError):
            partial.unlink()
    return file


def _folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME, "onaspr", "files")


def _fetch(url: str, partial: Path) -> str:
    """Write what a URL gives; return its SHA-256."""
    digest = hashlib.sha256()
    told = "try again, or download it elsewhere and name the file"
    try:
        with (
            httpx2.Client(event_hooks={"request": [_look_where_it_leads]}, timeout=SECONDS) as client,
            client.stream("GET", url, follow_redirects=True) as answer,
        ):
            answer.raise_for_status()
            with open(partial, "wb") as file:
                for part in answer.iter_bytes():
                    digest.update(part)
                    file.write(part)
                    if file.tell() > LARGEST:
                        raise UserError(f"{url}: more than {LARGEST:,} bytes are no network; correct the URL")
    except httpx2.HTTPStatusError as problem:
        status = problem.response.status_code
        refused = f"{url}: the server answers {status}"
        if status in (408, 429) or status >= 500:
            raise PassingError(f"{refused}; {told}") from problem
        raise UserError(
            f"{refused}; correct the URL, or download the file elsewhere and name it"
        ) from problem
    except httpx2.InvalidURL as problem:
        raise UserError(f"{url} is no URL: {problem}; correct it") from problem
    except (httpx2.HTTPError, httpx2.StreamError) as problem:
        said = str(problem) or type(problem).__name__
        raise PassingError(f"{url}: the server cannot be reached: {said}; {told}") from problem
    return digest.hexdigest()


def _look_where_it_leads(request: httpx2.Request) -> None:
    """Refuse a request, the first or a redirect's, into a private network; what comes is checked anyway.

    Its name is looked up here, for a proxy too, and its address is looked at again once it is connected to,
    before anything is sent: in between the name may have come to mean another.
    """
    url = request.url
    address, direct = private_address(url.host), False
    if address is not None:
        raise UserError(refusal(str(url), url.host, address))

    def look_at_connection(event: str, told: dict[str, Any]) -> None:
        nonlocal direct
        if event == "connection.connect_tcp.started":
            direct = told["host"] == url.raw_host.decode("ascii")
        if event == "connection.connect_tcp.complete" and direct:
            stream = told["return_value"]
            address = str(stream.get_extra_info("server_addr")[0])
            if not is_allowed(address):
                stream.close()
                raise UserError(refusal(str(url), url.host, address))

    request.extensions["trace"] = look_at_connection
