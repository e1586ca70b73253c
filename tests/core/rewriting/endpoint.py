"""An OpenAI-compatible endpoint on loopback that answers as a test tells it."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-planted-key-4711"


@dataclass
class Reply:
    """What the endpoint answers once: a chat completion around `text`, or `body` as it is.

    With `endless_headers` it answers nothing but headers.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    finish: str = "stop"
    declared_length: int | None = None
    seconds_before: float = 0.0
    seconds_between_bytes: float = 0.0
    endless_headers: bool = False

    def bytes(self) -> bytes:
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()


class FakeEndpoint:
    """Answers with `replies` in turn, the last one for ever; `requests` are the bodies it was sent.

    `choose` may be set to give each request a list of replies of its own.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = [Reply("A reply")]
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.choose: Callable[[dict[str, Any]], list[Reply]] = lambda _: self.replies
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def reply_to(self, request: dict[str, Any]) -> Reply:
        replies = self.choose(request)
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    endpoint: FakeEndpoint

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.endpoint.requests.append(request)
        self.endpoint.keys.append(self.headers["Authorization"])
        reply = self.endpoint.reply_to(request)
        time.sleep(reply.seconds_before)
        data = reply.bytes()
        self.send_response(reply.status)
        if reply.endless_headers:
            self._drip_headers()
            return
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.declared_length or len(data)))
        self.end_headers()
        with suppress(ConnectionError):
            if not reply.seconds_between_bytes:
                self.wfile.write(data)
                return
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(reply.seconds_between_bytes)

    def _drip_headers(self) -> None:
        """Send one header after another until nobody listens, or ten seconds are over."""
        self.flush_headers()
        with suppress(ConnectionError):
            for number in range(200):
                self.wfile.write(f"X-{number}: 1\r\n".encode())
                time.sleep(0.05)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
