"""Any Parquet: paths, bytes, and the features that the Hub's `datasets` writes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media
from tests.core.pool.rows import read

HUB = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_bytes_in_parquet_are_a_column_and_a_row_of_it(tmp_path: Path) -> None:
    media = pa.array([{"bytes": b"\x00" * 9, "path": None}, {"bytes": b"two", "path": "b.mp4"}], HUB)
    for number, captions in enumerate((["one", "two"], ["three", "four"])):
        table = pa.table({"video": media, "caption": captions, "score": [0.5, 1.5]})
        pq.write_table(table, tmp_path / f"train-{number:05}-of-00002.parquet")
    rows = read(tmp_path, format="parquet", path="train-*.parquet")
    assert [row.caption for row in rows] == ["one", "two", "three", "four"]
    assert rows[3].id == "train-00001-of-00002.parquet/1"
    assert rows[3].media == Media(str(tmp_path / "train-00001-of-00002.parquet"), "video/1")
    assert rows[3].extra == {"score": 1.5}


def test_a_list_of_captions_in_parquet_is_a_row_each(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": pa.array([{"bytes": b"1", "path": "1.jpg"}, {"bytes": b"2", "path": "2.jpg"}], HUB),
            "caption": [["one", "uno"], ["two"]],
            "filename": ["1.jpg", "2.jpg"],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    rows = read(tmp_path, format="parquet", path="t.parquet", columns={"id": "filename"})
    assert [(row.id, row.caption, row.media.member) for row in rows] == [
        ("1.jpg#0", "one", "image/0"),
        ("1.jpg#1", "uno", "image/0"),
        ("2.jpg#0", "two", "image/1"),
    ]


def test_paths_in_parquet_are_below_the_videos_or_urls_or_beside_the_file(tmp_path: Path) -> None:
    table = pa.table({"file": ["a.mp4", "https://x.test/b", "/full/c.mp4"], "text": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "t.parquet")
    below = read(tmp_path, format="parquet", path="t.parquet", videos="v")
    assert [row.media.path for row in below] == [
        str(tmp_path / "v/a.mp4"),
        "https://x.test/b",
        str(tmp_path / "v/full/c.mp4"),
    ]
    beside = read(tmp_path, format="parquet", path="t.parquet")
    assert [row.media.path for row in beside] == [
        str(tmp_path / "a.mp4"),
        "https://x.test/b",
        "/full/c.mp4",
    ]


def test_parquet_without_a_caption_names_the_columns_that_there_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": ["a.mp4"], "title": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"no column caption; found video, title; expected caption, video"):
        read(tmp_path, format="parquet", path="t.parquet")
