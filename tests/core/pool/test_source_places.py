"""Where a source may lie: above the settings, and at any URL that fsspec opens."""

import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool import webdataset
from onaspr_core.pool.listed_files import is_folder, stamp
from onaspr_core.pool.media import Media, file_stamp
from onaspr_core.pool.settings import PoolSettings
from onaspr_core.pool.source_forms import source_files
from onaspr_core.pool.sources import source_of
from tests.core.pool.packed import write_shard
from tests.core.pool.rows import read, write
from tests.object_store import ObjectStore


def test_a_path_of_the_settings_may_go_up(tmp_path: Path) -> None:
    base = tmp_path / "project"
    base.mkdir()
    write_shard(tmp_path / "set", 0, {"000000001": None})
    pq.write_table(pa.table({"video": [b"media"], "caption": ["x"]}), tmp_path / "t.parquet")
    write(tmp_path / "videos/a.mp4", "media")
    write(tmp_path / "videos/a.txt", "a dog")
    (tar,) = read(base, format="webdataset", path="../set")
    assert (tar.problem, tar.media.path) == (None, str(tmp_path / "set/00000.tar"))
    (cell,) = read(base, format="parquet", path="../*.parquet")
    assert (cell.problem, cell.media.path) == (None, str(tmp_path / "t.parquet"))
    for path in ("../videos", "./../videos/", f"file://{tmp_path}/videos"):
        (file,) = read(base, format="folder", path=path)
        assert (file.id, file.problem) == ("a.mp4", None)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_a_source_may_lie_at_a_url(name: str) -> None:
    root = f"memory://{name}"
    row = {"file": "a.mp4", "caption": "a dog"}
    with fsspec.open(f"{root}/{name}", "wb", compression="infer") as file:
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist([row]), file)
        else:
            text = json.dumps(row) if name.endswith(".jsonl") else "file,caption\na.mp4,a dog"
            file.write(text.encode() + b"\n")
    for path in (f"{root}/{name}", f"{root}/*{name[1:]}"):
        (found,) = read(Path("/"), format="folder", path=path, videos=f"{root}/videos")
        assert (found.caption, found.media) == ("a dog", Media(f"{root}/videos/a.mp4"))


def test_tars_and_texts_may_lie_at_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What lies in the memory of this process, no other can look into.
    monkeypatch.setattr(webdataset, "look_into", lambda tars, look: map(look, tars))
    write_shard(tmp_path, 0, {"000000001": None})
    for file in tmp_path.iterdir():
        with fsspec.open(f"memory://tars/{file.name}", "wb") as target:
            target.write(file.read_bytes())
    (row,) = read(Path("/"), format="webdataset", path="memory://tars")
    assert row.media == Media("memory://tars/00000.tar", "000000001.mp4")
    for name, data in (("a.mp4", b"media"), ("a.txt", b"a dog")):
        with fsspec.open(f"memory://texts/{name}", "wb") as target:
            target.write(data)
    (row,) = read(Path("/"), format="folder", path="memory://texts")
    assert (row.id, row.caption, row.media) == ("a.mp4", "a dog", Media("memory://texts/a.mp4"))


def test_what_another_process_changes_in_a_bucket_is_seen_at_once(
    bucket: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    elsewhere = object_store.aside()
    elsewhere.pipe({f"{bucket}/p/a.mp4": b"media", f"{bucket}/p/a.txt": b"a dog"})
    write_shard(tmp_path, 0, {"000000001": None})
    pool = {"format": "folder", "path": f"{bucket}/p"}
    assert [row.caption for row in read(Path("/"), **pool)] == ["a dog"]
    assert not is_folder(f"{bucket}/tars")
    elsewhere.pipe(
        {f"{bucket}/p/b.mp4": b"media", f"{bucket}/p/b.txt": b"a cat", f"{bucket}/p/a.txt": b"a pig"}
    )
    assert [row.caption for row in read(Path("/"), **pool)] == ["a pig", "a cat"]
    before = file_stamp(f"{bucket}/p/b.mp4")
    elsewhere.pipe_file(f"{bucket}/p/b.mp4", b"other")
    assert file_stamp(f"{bucket}/p/b.mp4") != before
    for file in tmp_path.iterdir():
        elsewhere.pipe_file(f"{bucket}/tars/{file.name}", file.read_bytes())
    files = source_files(source_of(PoolSettings(format="webdataset", path=f"{bucket}/tars"), tmp_path))
    assert files == [f"{bucket}/tars/00000.tar", f"{bucket}/tars/00000.parquet"]
    first = stamp(files)
    elsewhere.pipe_file(f"{bucket}/tars/00001.tar", (tmp_path / "00000.tar").read_bytes())
    assert (
        len(source_files(source_of(PoolSettings(format="webdataset", path=f"{bucket}/tars"), tmp_path))) == 3
    )
    elsewhere.pipe_file(f"{bucket}/tars/00000.tar", b"another")
    assert stamp(files) != first
    elsewhere.rm(f"{bucket}/p/a.mp4")
    assert [row.id for row in read(Path("/"), **pool)] == ["b.mp4"]


def test_a_protocol_that_is_not_known_is_told() -> None:
    with pytest.raises(UserError, match="nowhere://x"):
        read(Path("/"), format="folder", path="nowhere://x/t.csv")
