import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from onaspr_core.errors import PassingError, UserError
from onaspr_core.pool import media
from onaspr_core.pool.media import Media, file_stamp, open_media, reading_order
from tests.core.pool.packed import write_parquet, write_tar

PARTS = {f"{i:05}.mp4": bytes([i]) * (500 + 700 * i) for i in range(7)}


def contents(one: Media) -> bytes:
    with open_media(one) as source:
        if isinstance(source, str):
            with fsspec.open(source, "rb") as file:
                return bytes(file.read())
        return source.read()


def upload(path: Path) -> str:
    url = f"memory://pool/{path.name}"
    fsspec.filesystem("memory").pipe_file(f"/pool/{path.name}", path.read_bytes())
    return url


def test_a_file_is_handed_on_as_its_path_or_url(tmp_path: Path) -> None:
    (tmp_path / "a *[1].mp4").write_bytes(b"video")
    for path in (str(tmp_path / "a *[1].mp4"), "memory://pool/a.mp4"):
        with open_media(Media(path)) as source:
            assert source == path


@pytest.mark.parametrize("remote", [False, True])
def test_a_member_of_a_tar_is_its_bytes(remote: bool, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "00000 *.tar", PARTS)
    place = upload(path) if remote else str(path)
    for name, data in PARTS.items():
        assert contents(Media(place, name)) == data


def test_a_member_is_one_read_of_its_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = upload(write_tar(tmp_path / "00000.tar", PARTS))
    contents(Media(url, "00000.mp4"))
    reads: list[tuple[int, int]] = []
    memory = type(fsspec.filesystem("memory"))
    cat_file = memory.cat_file

    def counted(self: object, path: str, start: int, end: int) -> bytes:
        reads.append((start, end))
        return bytes(cat_file(self, path, start=start, end=end))

    monkeypatch.setattr(memory, "cat_file", counted)
    monkeypatch.setattr(memory, "_open", None)
    assert contents(Media(url, "00003.mp4")) == PARTS["00003.mp4"]
    assert [end - start for start, end in reads] == [len(PARTS["00003.mp4"])]


def test_a_large_member_is_read_as_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "BYTES_AT_ONCE", 1000)
    path = write_tar(tmp_path / "00000.tar", {"a.mp4": bytes(range(256)) * 40, "b.mp4": b"z" * 5000})
    with open_media(Media(str(path), "a.mp4")) as source:
        assert not isinstance(source, str | io.BytesIO)
        assert source.seek(-6, io.SEEK_END) == 256 * 40 - 6
        assert source.read() == bytes(range(250, 256))
        assert source.read() == b""
        assert source.seek(300) == 300
        assert source.read(4) == bytes(range(44, 48))
        assert source.seek(-2, io.SEEK_CUR) == 302
        assert source.read(1) == bytes([46])


def test_a_tar_is_indexed_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "00000.tar", PARTS)
    indexed: list[str] = []
    really = tarfile.open

    def counted(*what: object, **how: object) -> object:
        indexed.append("once")
        return really(*what, **how)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", counted)
        for name in PARTS:
            contents(Media(str(path), name))
    assert len(indexed) == 1
    write_tar(path, {"new.mp4": b"new"})
    assert contents(Media(str(path), "new.mp4")) == b"new"


def test_a_tar_cut_short_gives_the_members_that_are_whole(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "00000.tar", PARTS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert contents(Media(str(path), "00001.mp4")) == PARTS["00001.mp4"]
    with pytest.raises(UserError, match="no such part"):
        contents(Media(str(path), "00006.mp4"))


@pytest.mark.parametrize("remote", [False, True])
def test_a_cell_of_a_parquet_file_is_its_bytes(remote: bool, tmp_path: Path) -> None:
    cells = [bytes([i]) * (i + 1) for i in range(50)]
    path = write_parquet(tmp_path / "train.parquet", cells, group=20)
    place = upload(path) if remote else str(path)
    for row in [*range(50), 3, 49, 20, 19, 40]:
        assert contents(Media(place, f"plain/{row}")) == cells[row]
        assert contents(Media(place, f"video/{row}")) == cells[row]


def test_rows_in_their_order_are_one_pass_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "train.parquet", [b"x" * 100] * 90, group=30)
    passes: list[int] = []
    column = media._ParquetColumn(str(path), "plain")
    iterate = column._file.iter_batches

    def counted(size: int, **how: object) -> object:
        passes.append(1)
        return iterate(size, **how)

    monkeypatch.setattr(column._file, "iter_batches", counted, raising=False)
    for row in range(90):
        assert column.read(row) == b"x" * 100
    assert len(passes) == 3


def test_after_a_failure_a_row_is_that_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "train.parquet", [bytes([i]) for i in range(90)], group=90)
    column = media._ParquetColumn(str(path), "plain")
    assert column.read(0) == b"\x00"

    def fail() -> Iterator[object]:
        raise OSError("the network is gone")
        yield

    monkeypatch.setattr(column, "_batches", fail())
    with pytest.raises(OSError, match="network"):
        column.read(40)
    assert column.read(41) == bytes([41])


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("plain/2", "no bytes in the cell: it holds NoneType"),
        ("video/2", "no bytes in the cell: it holds NoneType"),
        ("caption/0", "no bytes in the cell: it holds str"),
        ("plain/9", "no such part"),
        ("other/0", "no such part"),
        ("plain", "no such part"),
        ("plain/-1", "no such part"),
    ],
)
def test_a_cell_without_bytes_is_refused(member: str, reason: str, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", [b"a", b"b", None])
    with pytest.raises(UserError, match=reason) as raised:
        contents(Media(str(path), member))
    assert not isinstance(raised.value, PassingError)


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
@pytest.mark.parametrize("data", [b"", b"neither of the two " * 99])
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=r"unreadable|no such part"):
        contents(Media(str(tmp_path / name), "a/0"))


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", PARTS, mode="w:gz")
    with pytest.raises(UserError, match="unreadable tar"):
        contents(Media(str(path), "00000.mp4"))


@pytest.mark.parametrize("name", ["none.tar", "none.parquet"])
def test_a_part_of_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    for path in (str(tmp_path / name), f"memory://none/{name}"):
        with pytest.raises(UserError, match="no such file"):
            contents(Media(path, "a/0"))


def test_a_stamp_changes_with_the_file_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"one")
    for path in (str(tmp_path / "a.mp4"), upload(tmp_path / "a.mp4")):
        before = file_stamp(path)
        assert file_stamp(path) == before
        with fsspec.open(path, "wb") as file:
            file.write(b"another")
        assert file_stamp(path) != before
    with pytest.raises(OSError):
        file_stamp(str(tmp_path / "none"))
    with pytest.raises(OSError):
        file_stamp("memory://none/none")


def test_media_are_read_in_the_order_of_their_files() -> None:
    rows = [Media("b.parquet", f"video/{row}") for row in (10, 9, 1)]
    others = [Media("a.tar", "2.mp4"), Media("a.tar", "10.mp4"), Media("c.mp4")]
    ordered = sorted([*rows, *others], key=reading_order)
    assert [one.member for one in ordered] == ["10.mp4", "2.mp4", "video/1", "video/9", "video/10", ""]


def test_media_say_for_people_where_they_lie() -> None:
    assert str(Media("a.mp4")) == "a.mp4"
    assert str(Media("a.tar", "b.mp4", 1.5, 2.25)) == "a.tar!b.mp4 [1.5 s … 2.25 s]"
    assert str(Media("a.mp4", stop=3.0)) == "a.mp4 [0 s … 3 s]"
    assert str(Media("a.mp4", start=3.0)) == "a.mp4 [3 s … end]"
