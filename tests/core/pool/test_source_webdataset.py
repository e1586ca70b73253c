"""What video2dataset and img2dataset write: 00000.tar, 00000.parquet, 00000_stats.json; and bare tars."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.pool import tar_items
from onaspr_core.pool.choice import Wish, choose, pool_rank
from onaspr_core.pool.media import Media, open_media
from onaspr_core.pool.scan import open_scan
from onaspr_core.pool.settings import PoolSettings
from onaspr_core.pool.source_forms import open_listing
from onaspr_core.pool.sources import source_of
from tests.core.pool.packed import write_shard, write_tar
from tests.core.pool.rows import by_id, read


@pytest.mark.parametrize("suffix", ["mp4", "jpg"])
def test_video2dataset_is_members_of_tars_with_what_its_parquet_says(tmp_path: Path, suffix: str) -> None:
    write_shard(tmp_path / "set", 0, {"000000000": "HTTP Error 404", "000000001": None}, suffix)
    write_shard(tmp_path / "set", 1, {"000010000": None}, suffix)
    failed, first, second = read(tmp_path, format="webdataset", path="set")
    assert failed.problem == "its download failed: HTTP Error 404"
    assert (first.id, first.caption, first.problem) == ("000000001", "caption 000000001", None)
    assert first.media == Media(str(tmp_path / "set/00000.tar"), f"000000001.{suffix}")
    assert second.media == Media(str(tmp_path / "set/00001.tar"), f"000010000.{suffix}")
    assert second.extra["url"] == "https://x.test/000010000"


def test_ids_of_a_webdataset_may_be_another_column(tmp_path: Path) -> None:
    write_shard(tmp_path / "set", 0, {"000000001": None})
    (row,) = read(tmp_path, format="webdataset", path="set", columns={"id": "videoid"})
    assert (row.id, row.media.member) == ("v000000001", "000000001.mp4")


def test_a_shard_that_a_download_left_half_written_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shard(tmp_path / "set", 0, {"000000001": None})
    write_shard(tmp_path / "set", 1, {"000010000": None})
    half = tmp_path / "set/00001.parquet"
    half.write_bytes(half.read_bytes()[:-10])
    (row,) = read(tmp_path, format="webdataset", path="set")
    assert row.id == "000000001"
    assert "00001.tar is left out" in caplog.text


def test_a_tar_that_cannot_be_read_is_a_row_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_tar(tmp_path / "tars/a/0.tar", {"x.mp4": b"media", "x.txt": b"a dog"})
    half = write_tar(tmp_path / "tars/a/1.tar", {"y.mp4": b"media", "y.txt": b"a cat", "z.mp4": b"media"})
    half.write_bytes(half.read_bytes()[:2300])
    (tmp_path / "tars/b").mkdir()
    (tmp_path / "tars/b/0.tar").write_bytes(b"no tar")
    os.mkfifo(tmp_path / "tars/b/2.tar")
    monkeypatch.setattr(tar_items, "SECONDS_PER_TAR", 5.0)
    rows = by_id(tmp_path, format="webdataset", path="tars/*/*.tar")
    assert {id_: row.problem for id_, row in rows.items()} == {
        "a/x": None,
        "a/y": None,
        "a/1.tar": "unreadable tar: no header at byte 2048; what follows is left out",
        "b/0.tar": "unreadable tar: truncated header",
        "b/2.tar": "reading it took longer than 5 s",
    }
    assert rows["a/x"].media == Media(str(good), "x.mp4")
    assert rows["b/0.tar"].media == Media(str(tmp_path / "tars/b/0.tar"))


def test_such_a_row_has_its_place_among_the_others_and_may_be_withdrawn(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars/0.tar", {f"{i}.{s}": b"x" for i in range(400) for s in ("mp4", "txt")})
    for i in range(400):
        (tmp_path / f"tars/bad{i:03}.tar").write_bytes(b"")
    ids = [*map(str, range(400)), *(f"bad{i:03}.tar" for i in range(400))]
    with open_scan() as connection:
        told = PoolSettings(format="webdataset", path="tars")
        listing = open_listing(connection, source_of(told, tmp_path))
        wanted = sorted(ids, key=lambda id_: (pool_rank(5, id_), id_))
        chosen = choose(connection, listing, Wish(20, 5), "rows")
        assert chosen.rows["id"].to_pylist() == wanted[:20]
        assert {"bad" in id_ for id_ in wanted[:20]} == {True, False}
        bad = next(id_ for id_ in wanted if "bad" in id_)
        chosen = choose(connection, listing, Wish(20, 5, takedown=[bad]), "rows")
        assert (bad in chosen.rows["id"].to_pylist(), chosen.withdrawn) == (False, [bad])


def test_a_tar_that_cannot_be_read_says_so_of_the_items_that_its_list_names(tmp_path: Path) -> None:
    write_shard(tmp_path / "set", 0, {"000000001": None})
    (tmp_path / "set/00000.tar").write_bytes(b"no tar")
    (row,) = read(tmp_path, format="webdataset", path="set")
    assert (row.id, row.problem) == ("000000001", "unreadable tar: truncated header")


def test_tars_without_lists_are_indexed_by_their_headers(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "train-0.tar",
        {
            "a/000012345.mp4": b"media",
            "a/000012345.json": json.dumps({"caption": "from json", "aesthetic score": 5.5}).encode(),
            "000012346.webm": b"media",
            "000012346.txt": b"from text",
            "000012347.txt": b"no media",
        },
    )
    first, second, third = read(tmp_path, format="webdataset", path="train-0.tar")
    assert (first.id, first.caption, first.media.member) == ("a/000012345", "from json", "a/000012345.mp4")
    assert first.extra == {"aesthetic score": "5.5"}
    assert (second.id, second.caption, second.media.member) == ("000012346", "from text", "000012346.webm")
    assert third.problem == "its tar holds no video"


@pytest.mark.parametrize("listed", [False, True])
def test_a_video_goes_before_its_thumbnail_and_names_may_begin_with_a_dot(
    tmp_path: Path, listed: bool
) -> None:
    members = {"./1.jpg": b"thumbnail", "./1.mp4": b"media", "./1.png": b"other", "./._1.mp4": b"a Mac's"}
    write_tar(tmp_path / "0.tar", {**members, "./1.txt": b"a dog"})
    if listed:
        pq.write_table(pa.table({"key": ["1"], "caption": ["a dog"]}), tmp_path / "0.parquet")
    (row,) = read(tmp_path, format="webdataset", path="0.tar")
    assert (row.id, row.caption, row.media.member) == ("1", "a dog", "1.mp4")
    with open_media(row.media) as file:
        assert not isinstance(file, str) and file.read() == b"media"
