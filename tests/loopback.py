"""Servers on this machine: one that answers as a hub of models does, and what any server needs."""

import hashlib
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "c" * 40

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Say whether somebody listens at a port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextmanager
def serving(answer: Callable[[str], Answer], fetched: list[str]) -> Iterator[str]:
    """Serve what `answer` gives for a path, note the paths of bodies that were sent; yield the address.

    Pieces are given of what has the header `Accept-Ranges: bytes`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            status, headers, body = answer(self.path)
            if with_body:
                fetched.append(self.path)
            piece = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if piece and headers.get("Accept-Ranges") == "bytes":
                status, whole = 206, len(body)
                body = body[int(piece[1]) : int(piece[2] or whole) + 1]
                headers["Content-Range"] = f"bytes {piece[1]}-{int(piece[1]) + len(body) - 1}/{whole}"
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                # Whoever asked may have had enough.
                with suppress(ConnectionError):
                    self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Hub:
    """Repositories by name: their files, or the status and code with which the hub refuses them."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []

    @property
    def fetched(self) -> list[str]:
        """The files that were downloaded, as OWNER/NAME/PATH."""
        return [one.replace(f"/resolve/{COMMIT}", "").strip("/") for one in self.asked if "/resolve/" in one]

    def answer(self, path: str) -> Answer:
        parts = path.partition("?")[0].strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        owner_and_name = parts[2:4] if api else parts[:2]
        name, rest = "/".join(owner_and_name), parts[4:] if api else parts[2:]
        if name in self.refused:
            status, code = self.refused[name]
            return status, {"X-Error-Code": code}, b"{}"
        if name not in self.files:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if rest[1] not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.files[name]
        if api and rest[0] == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                for path, data in files.items()
            ]
            return 200, {}, json.dumps(listed).encode()
        if api:
            siblings = [{"rfilename": path} for path in files]
            told = {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
            return 200, {}, json.dumps(told).encode()
        path = "/".join(rest[2:])
        if path not in files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        data = files[path]
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
        return 200, headers, data
