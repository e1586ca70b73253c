"""A disk that is full: a sentence that names the path, nothing corrupted, and the next run goes on."""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from onaspr_core.artifacts import ArtifactStore, content_key
from onaspr_core.catalog import Catalog
from onaspr_core.errors import UserError
from onaspr_core.pool.shards import Clip, list_shards, read_clip_bytes, write_shard
from onaspr_core.retrieval.table import ROW, CaptionTable
from onaspr_core.whole_files import told_where_there_is_no_room
from tests.faults.child import ERROR, materialize, start
from tests.faults.conftest import Undisturbed
from tests.faults.kept import Watch, kept

SIZE = 4 << 20
FULL = "cannot be written: the disk is full, or a quota is; make room there and run again"
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    with mounted(tmp_path / "disk", SIZE) as folder:
        yield folder


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes."""
    folder.mkdir()
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, f"size={size}".encode()):
        pytest.skip(f"a small file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Fill a disk but for so many bytes; deleting the file that is returned makes room."""
    ballast = disk / "ballast"
    room = os.statvfs(disk)
    ballast.write_bytes(bytes(max(room.f_bavail * room.f_bsize - leave, 0)))
    return ballast


@pytest.mark.parametrize("kind", ["video", "inverted-latent"])
def test_an_item_for_which_there_is_no_room_is_not_there_and_the_others_are(disk: Path, kind: str) -> None:
    store = ArtifactStore(str(disk / "store"))
    data, keys = os.urandom(300_000), [content_key("x", n=n) for n in range(40)]
    with pytest.raises(UserError, match=FULL) as refused:
        for key in keys:
            store.write(kind, key, ".bin", data, {})
    assert str(disk / "store" / kind) in str(refused.value)
    there = store.existing(kind, keys)
    assert 0 < len(there) < len(keys)
    assert all(store.read(kind, key) == data for key in there)
    assert not list(disk.rglob("*.partial"))
    for key in keys[:5]:
        store.delete(kind, key)
    store.write(kind, keys[0], ".bin", data, {})
    assert store.read(kind, keys[0]) == data


def test_a_shard_for_which_there_is_no_room_is_not_there_and_the_others_are(disk: Path) -> None:
    root = str(disk / "shards")
    [first] = write_shard(root, [Clip("a", b"1" * 1000, "a cat", {})])
    ballast = fill(disk, leave=100_000)
    large = [Clip("b", os.urandom(200_000), "a dog", {})]
    with pytest.raises(UserError, match=FULL):
        write_shard(root, large)
    assert list_shards(root) == {first.shard} and read_clip_bytes(root, first) == b"1" * 1000
    assert [path.name for path in Path(root).iterdir()] == [first.shard]
    ballast.unlink()
    [second] = write_shard(root, large)
    assert read_clip_bytes(root, second) == large[0].mp4


def rows_of(catalog: Catalog) -> list[tuple[int, int]]:
    return [tuple(row) for row in catalog.rows("select count(*), sum(length(text)) from t") or ()]  # type: ignore[misc]


def test_a_transaction_for_which_there_is_no_room_is_undone(disk: Path) -> None:
    catalog = Catalog(disk / "catalog.duckdb")
    with catalog.write() as connection:
        connection.execute("create table t (n integer, text text)")
        connection.execute("insert into t values (0, 'kept')")
    ballast = fill(disk, leave=300_000)
    rows = pa.table({"n": range(1000), "text": [os.urandom(500).hex() for _ in range(1000)]})
    with pytest.raises(UserError, match=FULL) as refused, catalog.write() as connection:
        connection.register("fresh", rows)
        connection.execute("insert into t select * from fresh")
    assert "catalog.duckdb" in str(refused.value)
    assert rows_of(catalog) == [(1, 4)]
    ballast.unlink()
    assert rows_of(catalog) == [(1, 4)]
    with catalog.write() as connection:
        connection.register("fresh", rows)
        connection.execute("insert into t select * from fresh")
    assert rows_of(catalog) == [(1001, 4 + 1000 * 1000)]


def test_a_catalog_for_which_there_is_no_room_leaves_nothing_behind(disk: Path) -> None:
    ballast = fill(disk)
    with pytest.raises(UserError, match=FULL), Catalog(disk / "catalog.duckdb").write():
        pytest.fail("there is no room for a catalog")
    assert [path.name for path in disk.iterdir()] == ["ballast"]
    ballast.unlink()
    with Catalog(disk / "catalog.duckdb").write() as connection:
        connection.execute("create table t (n integer)")


def captions(numbers: Sequence[int]) -> tuple[pa.Table, np.ndarray]:
    rows = [
        {
            "key": str(n),
            "caption": f"caption {n}",
            "rank": n,
            "pairs": [{"rank": n, "id": str(n), "clip": "c"}],
        }
        for n in numbers
    ]
    vectors = np.random.default_rng(0).normal(size=(len(rows), 384)).astype(np.float32)
    return pa.Table.from_pylist(rows, ROW), vectors


def test_captions_for_which_there_is_no_room_leave_the_table_as_it_was(disk: Path) -> None:
    def table() -> CaptionTable:
        return CaptionTable(str(disk / "captions.lance"), "f" * 40, "pool")

    table().upsert(*captions(range(100)))
    ballast = fill(disk, leave=200_000)
    with pytest.raises(UserError, match=FULL), told_where_there_is_no_room(disk / "captions.lance"):
        table().upsert(*captions(range(100, 1000)))
    assert table().rows().num_rows == 100
    ballast.unlink()
    table().upsert(*captions(range(100, 1000)))
    assert table().rows().num_rows == 1000
    assert len(table().vectors(map(str, range(1000)))) == 1000


def test_a_table_that_was_no_more_than_begun_is_made(disk: Path) -> None:
    (disk / "captions.lance" / f"captions_{'f' * 16}_pool.lance" / "data").mkdir(parents=True)
    table = CaptionTable(str(disk / "captions.lance"), "f" * 40, "pool")
    assert table.rows().num_rows == 0
    table.upsert(*captions(range(10)))
    assert CaptionTable(str(disk / "captions.lance"), "f" * 40, "pool").rows().num_rows == 10


@pytest.mark.parametrize(
    "problem",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        OSError(27, "File too large"),
    ],
)
def test_whatever_says_that_a_disk_is_full_is_told_and_other_errors_stay(problem: OSError) -> None:
    with pytest.raises(UserError, match="/data/x cannot be written"), told_where_there_is_no_room("/data/x"):
        raise problem
    with pytest.raises(PermissionError), told_where_there_is_no_room("/data/x"):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(duckdb.Error, match="something else"), told_where_there_is_no_room("/data/x"):
        raise duckdb.Error("something else")


def test_a_run_on_a_full_disk_goes_on_where_there_is_room(
    new_project: Callable[[str], Path], undisturbed: Undisturbed
) -> None:
    folder = new_project("on-a-full-disk")
    with mounted(folder / "store", 64 << 20) as disk:
        for leave in (600_000, 1_500_000, 3_000_000):
            ballast = fill(disk, leave)
            process = start(materialize, folder)
            process.join()
            assert process.exitcode == 1
            assert FULL in (folder / ERROR).read_text()
            Watch(folder).look()
            ballast.unlink()
        process = start(materialize, folder)
        process.join()
        assert process.exitcode == 0
        assert kept(folder) == undisturbed.kept
