"""Columns that the settings name, in every form; and ids where files of several folders have one name."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media
from tests.core.pool.packed import write_tar
from tests.core.pool.rows import read


def test_webvid_needs_the_columns_that_it_uses_and_takes_others_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("uid,text,page_dir,clip,from\n7,a dog,p,sub/x.mp4,0:05\n")
    told = {"format": "webvid", "path": "t.csv", "videos": "v"}
    (row,) = read(tmp_path, **told, columns={"id": "uid", "caption": "text"})
    assert (row.id, row.caption, row.media) == ("7", "a dog", Media(str(tmp_path / "v/p/7.mp4")))
    (row,) = read(tmp_path, **told, columns={"id": "uid", "caption": "text", "path": "clip", "start": "from"})
    assert row.media == Media(str(tmp_path / "v/sub/x.mp4"), start=5.0)
    with pytest.raises(UserError, match="no column contentUrl; found uid, text"):
        read(tmp_path, format="webvid", path="t.csv", columns={"id": "uid", "caption": "text"})


def test_panda70m_takes_other_names_for_its_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "vid,timestamp,texts,files,licence\n"
        "v,\"[['0:00:01.000', '0:00:02.000'], ['0:00:03.000', '0:00:04.000']]\","
        "\"['x', 'y']\",\"['a.mp4', 'b.mp4']\",CC0\n"
    )
    told = {"format": "panda70m", "path": "t.csv", "videos": "v"}
    first, second = read(tmp_path, **told, columns={"id": "vid", "caption": "texts"})
    assert (first.id, first.caption, first.licence) == ("v_00000", "x", "CC0")
    assert second.media == Media(str(tmp_path / "v/v.mp4"), start=3.0, stop=4.0)
    assert second.extra["files"] == "b.mp4"
    _, second = read(tmp_path, **told, columns={"id": "vid", "caption": "texts", "path": "files"})
    assert second.media.path == str(tmp_path / "v/b.mp4")
    assert second.extra.keys() == {"licence"}


def test_columns_that_a_form_has_no_use_for_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {"a.mp4": b"media", "a.txt": b"a dog"})
    (tmp_path / "t.csv").write_text("videoID,timestamp,caption\n")
    with pytest.raises(
        UserError, match=r"webdataset has no use for columns\.path: its videos lie in the tars"
    ):
        read(tmp_path, format="webdataset", path="0.tar", columns={"path": "key"})
    with pytest.raises(UserError, match=r"panda70m has no use for columns\.stop: the column timestamp"):
        read(tmp_path, format="panda70m", path="t.csv", videos="v", columns={"stop": "caption"})


def test_files_of_one_name_in_several_folders_give_ids_of_their_own(tmp_path: Path) -> None:
    for folder in ("x", "y/z"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        pq.write_table(
            pa.table({"video": [b"media"], "caption": ["x"]}), tmp_path / "data" / folder / "0.parquet"
        )
    for folder in ("x", "y"):
        write_tar(
            tmp_path / "tars" / folder / "00000.tar", {"000000001.mp4": b"m", "000000001.txt": b"a dog"}
        )
    rows = read(tmp_path, format="parquet", path="data/**/*.parquet")
    assert [row.id for row in rows] == ["x/0.parquet/0", "y/z/0.parquet/0"]
    told = {"format": "webdataset", "path": "tars/*/00000.tar"}
    assert [(row.id, row.media.member) for row in read(tmp_path, **told)] == [
        ("x/000000001", "000000001.mp4"),
        ("y/000000001", "000000001.mp4"),
    ]
    for folder in ("x", "y"):
        listed = pa.table({"key": ["000000001"], "caption": ["a dog"], "uid": [folder]})
        pq.write_table(listed, tmp_path / "tars" / folder / "00000.parquet")
    assert [row.id for row in read(tmp_path, **told)] == ["x/000000001", "y/000000001"]
    assert [row.id for row in read(tmp_path, **told, columns={"id": "uid"})] == ["x", "y"]
