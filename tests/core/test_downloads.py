"""Files behind a URL: a server on this machine gives them, others, or nothing."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from onaspr_core import downloads
from onaspr_core.addresses import PRIVATE_NETWORKS
from onaspr_core.downloads import downloaded
from onaspr_core.errors import PassingError, UserError
from tests.loopback import Answer, serving

DATA = b"the weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server:
    """What paths answer, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.address = ""

    def answer(self, path: str) -> Answer:
        plain = path.partition("?")[0]
        if plain == "/short.pt":
            return 200, {"Content-Length": str(len(DATA) + 1)}, DATA
        moved = {"/moved.pt": "/good.pt", "/inside.pt": "http://169.254.169.254/good.pt"}
        if plain in moved:
            return 302, {"Location": moved[plain]}, b""
        status = {"/busy.pt": 503, "/gone.pt": 404}.get(plain, 200)
        return status, {}, DATA if status == 200 else b"no"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(PRIVATE_NETWORKS, "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    made = Server()
    with serving(made.answer, made.asked) as made.address:
        yield made


def left(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once_under_its_name_and_again_where_it_was_damaged(
    server: Server, tmp_path: Path
) -> None:
    url = f"{server.address}/good%2Bname.pt?dl=1"
    file = downloaded(url, SHA256)
    assert (file.name, file.read_bytes()) == ("good+name.pt", DATA)
    assert downloaded(url, SHA256) == file
    assert server.asked == ["/good%2Bname.pt?dl=1"]
    file.write_bytes(b"damaged")
    assert downloaded(url, SHA256).read_bytes() == DATA
    assert downloaded(f"{server.address}/moved.pt", SHA256).read_bytes() == DATA
    assert sorted(left(tmp_path)) == ["good+name.pt", "moved.pt"]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("gone.pt", UserError, "the server answers 404; correct the URL"),
        ("busy.pt", PassingError, "the server answers 503; try again"),
        ("short.pt", PassingError, "the server cannot be reached: .*; try again, or download it elsewhere"),
    ],
)
def test_what_a_server_does_not_give_is_told_and_leaves_nothing(
    server: Server, tmp_path: Path, name: str, kind: type[UserError], told: str
) -> None:
    with pytest.raises(UserError, match=told) as problem:
        downloaded(f"{server.address}/{name}", SHA256)
    assert type(problem.value) is kind
    assert left(tmp_path) == []


def test_another_content_than_the_pinned_one_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"what is there has SHA-256 {SHA256}, and {'0' * 64} is asked for"):
        downloaded(f"{server.address}/good.pt", "0" * 64)
    assert left(tmp_path) == []


def test_a_server_that_is_away_and_what_is_no_url_of_a_file_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(PassingError, match=r"http://127\.0\.0\.1:9/a\.pt: the server cannot be reached"):
        downloaded("http://127.0.0.1:9/a.pt", SHA256)
    for url in ("ftp://127.0.0.1/a.pt", "file:///etc/passwd", server.address):
        with pytest.raises(UserError, match="only http and https URLs of a file are downloaded"):
            downloaded(url, SHA256)
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="cannot be written: Not a directory"):
        downloaded(f"{server.address}/good.pt", SHA256)


def test_nothing_is_downloaded_from_a_private_network(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"good\.pt: the host 169\.254\.169\.254 lies in a private network"):
        downloaded(f"{server.address}/inside.pt", SHA256)
    assert server.asked == ["/inside.pt"]
    monkeypatch.setenv(PRIVATE_NETWORKS, "")
    with pytest.raises(UserError, match=r"the host 127\.0\.0\.1 lies in a private network"):
        downloaded(f"{server.address}/good.pt", SHA256)
    assert (server.asked, left(tmp_path)) == (["/inside.pt"], [])


def test_a_name_that_comes_to_mean_a_private_address_is_refused_when_it_is_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PRIVATE_NETWORKS, "")
    monkeypatch.setenv("NO_PROXY", "rebound.example")
    port, meant = int(server.address.rpartition(":")[2]), ["127.0.0.1", "8.8.8.8"]

    def resolved(*_: object, **__: object) -> list[tuple[object, ...]]:
        address = (meant.pop() if len(meant) > 1 else meant[0], port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address)]

    monkeypatch.setattr("socket.getaddrinfo", resolved)
    with pytest.raises(UserError, match=r"rebound\.example lies in a private network \(127\.0\.0\.1\)"):
        downloaded(f"http://rebound.example:{port}/good.pt", SHA256)
    assert (meant, server.asked, left(tmp_path)) == (["127.0.0.1"], [], [])


def test_a_proxy_that_the_environment_names_may_lie_in_a_private_network(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.address)
    monkeypatch.setenv(PRIVATE_NETWORKS, "")
    with pytest.raises(UserError, match=r"the host 10\.0\.0\.1 lies in a private network"):
        downloaded("http://10.0.0.1/good.pt", SHA256)
    assert downloaded("http://8.8.8.8/good.pt", SHA256).read_bytes() == DATA
    assert server.asked == ["http://8.8.8.8/good.pt"]


def test_a_file_that_has_no_end_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(downloads, "LARGEST", len(DATA) - 1)
    with pytest.raises(UserError, match="are no network; correct the URL"):
        downloaded(f"{server.address}/good.pt", SHA256)
    assert left(tmp_path) == []
