"""URLs that rows name: of which schemes, and where they may lead."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import aiohttp
import fsspec
import numpy as np
import pytest

from onaspr_core import web
from onaspr_core.addresses import PRIVATE_NETWORKS
from onaspr_core.errors import PassingError, UserError
from onaspr_core.media.video import encode_mp4
from onaspr_core.pool.cut import CutJob, cut_all, cut_clip
from onaspr_core.pool.media import Media, file_stamp, open_media
from tests.core.pool.rows import by_id, read, write
from tests.loopback import Answer, serving

METADATA = "http://169.254.169.254/latest/meta-data"


class Server:
    """Three paths on this machine, and which were asked for."""

    def __init__(self, video: bytes) -> None:
        self.video = video
        self.asked: list[str] = []
        self.address = ""

    def answer(self, path: str) -> Answer:
        if path == "/moved.mp4":
            return 302, {"Location": "http://[::ffff:169.254.169.254]/latest/meta-data"}, b""
        if path == "/near.mp4":
            return 302, {"Location": "/a.mp4"}, b""
        if path == "/busy.mp4":
            return 503, {}, b""
        if path == "/list.csv":
            return 200, {"Accept-Ranges": "bytes"}, b"file,caption\na.mp4,a dog\n"
        return (200, {}, self.video) if path == "/a.mp4" else (404, {}, b"")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, noise_video: bytes) -> Iterator[Server]:
    monkeypatch.setenv(PRIVATE_NETWORKS, "127.0.0.1")
    made = Server(noise_video)
    with serving(made.answer, made.asked) as made.address:
        yield made


@pytest.fixture(scope="module")
def noise_video() -> bytes:
    return encode_mp4(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8), 8.0)


def job(url: str) -> CutJob:
    return CutJob("k", Media(url), file_stamp(url), 16, 1, 2, 8.0, 14)


def test_a_row_may_name_a_url_of_the_pools_schemes_and_no_other(tmp_path: Path) -> None:
    urls = {
        "web": "https://x.test/a.mp4",
        "plain": "HTTP://x.test/a.mp4",
        "bucket": "s3://bucket/b.mp4",
        "local": "file:///etc/passwd",
        "chain": "https://x.test/a.zip::file:///etc/passwd",
        "cached": "simplecache::https://x.test/a.mp4",
        "odd": "x/y://z",
    }
    lines = [f"{id_},{url},a caption" for id_, url in urls.items()]
    write(tmp_path / "t.csv", "\n".join(["id,file,caption", *lines]) + "\n")
    settings = {"format": "folder", "path": "t.csv", "columns": {"id": "id"}}
    for videos in ({}, {"videos": "v"}):
        problems = {id_: row.problem for id_, row in by_id(tmp_path, **settings, **videos).items()}
        told = "the scheme of its URL is not among those of the pool: "
        assert problems == {
            "web": None,
            "plain": None,
            "bucket": told + urls["bucket"],
            "local": told + urls["local"],
            "chain": "its URL is a chain of several",
            "cached": "its URL is a chain of several",
            "odd": told + urls["odd"],
        }
    rows = by_id(tmp_path, **settings, schemes=["S3"])
    assert [id_ for id_, row in rows.items() if row.problem is None] == ["bucket"]


def test_a_url_of_a_file_here_stays_in_the_folder_of_videos(tmp_path: Path) -> None:
    for root in (tmp_path / "v", tmp_path):
        inside = f"file://{root}/a.mp4"
        urls = {
            "inside": inside,
            "local": inside.replace("file:", "LOCAL:"),
            "else": "file:///etc/passwd",
            "other": "local:///etc/passwd",
            "host": f"file://host{root}/a.mp4",
            "near": f"file://{root}-near/a.mp4",
            "up": f"file://{root}/../a.mp4",
            "dot": f"file://{root}/./b/../../a.mp4",
        }
        lines = [f"{id_},{url},a caption" for id_, url in urls.items()]
        write(tmp_path / "t.csv", "\n".join(["id,file,caption", *lines]) + "\n")
        settings: dict[str, Any] = {"format": "folder", "path": "t.csv", "columns": {"id": "id"}}
        # Without a folder of videos it is that of the table.
        videos = {"videos": "v"} if root != tmp_path else {}
        rows = by_id(tmp_path, **settings, **videos, schemes=["file", "local"])
        for id_, row in rows.items():
            out = f"the path {urls[id_]} leads out of the folder of videos"
            assert row.problem == (None if id_ in ("inside", "local") else out)
        rows = by_id(tmp_path, **settings, schemes=["file"], videos="https://x.test/v")
        assert {row.problem is None for row in rows.values()} == {False}
        rows = by_id(tmp_path, **settings, schemes=[], videos=f"file://{root}")
        assert [id_ for id_, row in rows.items() if row.problem is None] == ["inside"]


def test_what_the_settings_name_needs_no_scheme(tmp_path: Path) -> None:
    with fsspec.open("memory://own/t.csv", "wb") as file:
        file.write(b"file,caption\na.mp4,x\nmemory://other/b.mp4,y\n")
    for videos in ({}, {"videos": "memory://own/"}):
        inside, outside = read(tmp_path, format="folder", path="memory://own/t.csv", schemes=[], **videos)
        assert (inside.problem, inside.media.path) == (None, "memory://own/a.mp4")
        assert outside.problem is not None and "is not among those" in outside.problem


@pytest.mark.parametrize("told", ["", "10.0.0.0/8, ::1"])
def test_a_private_address_is_not_asked(server: Server, monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    monkeypatch.setenv(PRIVATE_NETWORKS, told)
    url = f"{server.address}/a.mp4"
    named = url.replace("127.0.0.1", "localhost")
    for one in (url, named):
        with pytest.raises(OSError, match=r"lies in a private network \((127.0.0.1|::1)\), which is closed"):
            file_stamp(one)
        clip = cut_clip(CutJob("k", Media(one), "", 16, 1, 2, 8.0, 14))
        assert "lies in a private network" in clip.reason and not clip.lasting
    for path in (f"{server.address}/list.csv", f"{server.address}/*.csv"):
        with pytest.raises(UserError, match="lies in a private network"):
            read(Path("/"), format="folder", path=path)
    assert server.asked == []


def test_a_redirect_is_followed_but_not_into_a_private_network(server: Server) -> None:
    assert json.loads(file_stamp(f"{server.address}/near.mp4")) == {"size": len(server.video)}
    url = f"{server.address}/moved.mp4"
    with pytest.raises(OSError, match=r"::ffff.* lies in a private network \(::ffff"):
        file_stamp(url)
    filesystem, inside = fsspec.url_to_fs(url)
    for read_of_it in (filesystem.cat_file, filesystem.isfile, filesystem.size):
        with pytest.raises(PassingError, match="lies in a private network"):
            read_of_it(inside)
    with pytest.raises(PassingError, match="lies in a private network"):
        filesystem.cat_file(METADATA)


def test_a_worker_process_keeps_to_it_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = job(f"{server.address}/a.mp4")
    monkeypatch.setenv(PRIVATE_NETWORKS, "")
    (clip,) = (clip for clip in cut_all([wanted], 1) if clip is not None)
    assert "lies in a private network" in clip.reason and not clip.lasting
    monkeypatch.setenv(PRIVATE_NETWORKS, "127.0.0.0/8")
    assert cut_clip(wanted).frames == 2


def test_a_table_behind_a_url_is_read(server: Server) -> None:
    (row,) = read(Path("/"), format="folder", path=f"{server.address}/list.csv")
    assert (row.caption, row.media, row.problem) == ("a dog", Media(f"{server.address}/a.mp4"), None)


def test_a_server_that_is_busy_or_away_does_not_count_as_a_missing_file(server: Server) -> None:
    for url, told in ((f"{server.address}/busy.mp4", "503"), ("http://127.0.0.1:9/a.mp4", "Cannot connect")):
        with pytest.raises(OSError, match=told) as problem:
            file_stamp(url)
        assert not isinstance(problem.value, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        file_stamp(f"{server.address}/none.mp4")


def test_a_piece_of_a_file_is_that_piece_and_an_answer_has_an_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem, inside = fsspec.url_to_fs(f"{server.address}/a.mp4")
    with pytest.raises(PassingError, match="gives no pieces of a file"):
        filesystem.cat_file(inside, start=10, end=20)
    monkeypatch.setattr("onaspr_core.web.LARGEST_ANSWER", len(server.video))
    assert filesystem.cat_file(inside) == server.video
    monkeypatch.setattr("onaspr_core.web.LARGEST_ANSWER", len(server.video) - 1)
    with pytest.raises(PassingError, match="an answer of more than"):
        filesystem.cat_file(inside)
    with open_media(Media(f"{server.address}/a.mp4")) as source:
        assert source == f"{server.address}/a.mp4"


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert None not in (web.TIMES.total, web.TIMES.sock_connect, web.TIMES.sock_read)
    monkeypatch.setenv(PRIVATE_NETWORKS, "127.0.0.1")
    monkeypatch.setattr(web, "TIMES", aiohttp.ClientTimeout(total=0.2))
    enough = Event()

    def answer(path: str) -> Answer:
        enough.wait(30)
        return 200, {}, b""

    with serving(answer, []) as address:
        try:
            with pytest.raises(OSError, match="Timeout"):
                web.PublicWeb(skip_instance_cache=True).info(f"{address}/a.mp4")
            assert not enough.is_set()
        finally:
            enough.set()
