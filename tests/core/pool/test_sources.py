from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media
from onaspr_core.pool.sources import SourceRow, read_source
from onaspr_core.settings import PoolSettings

WEBVID = (
    "videoid,contentUrl,duration,page_dir,name\n"
    "21179416,https://ak.picdn.net/shutterstock/videos/21179416/preview/stock-footage-aerial.mp4,"
    "PT00H00M11S,006001_006050,Aerial shot winter forest\n"
    "5629184,https://ak.picdn.net/5629184.mp4,PT00H00M29S,071501_071550,"
    '"Senior couple, ""in love"", at a café — 東京"\n'
)


def rows_of(tmp_path: Path, text: str | bytes, format_: str = "webvid") -> list[SourceRow]:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "table.csv").write_bytes(data)
    settings = PoolSettings.model_validate({"format": format_, "path": "table.csv", "videos": "videos"})
    return list(read_source(settings, tmp_path))


def test_webvid_is_read_in_its_published_form(tmp_path: Path) -> None:
    first, second = rows_of(tmp_path, WEBVID)
    assert first.id == "21179416"
    assert first.caption == "Aerial shot winter forest"
    assert first.media == Media(str(tmp_path / "videos/006001_006050/21179416.mp4"))
    assert first.extra["duration"] == "PT00H00M11S"
    assert first.extra["contentUrl"].endswith("stock-footage-aerial.mp4")
    assert second.caption == 'Senior couple, "in love", at a café — 東京'
    assert first.problem is None and second.problem is None


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    windows = b"\xef\xbb\xbf" + WEBVID.replace("\n", "\r\n").encode()
    assert rows_of(tmp_path, windows) == rows_of(tmp_path, WEBVID)


def test_a_caption_over_two_lines_is_one_line(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, 'file,caption\na.mp4,"a dog\n  runs"\n', "folder")
    assert row == SourceRow("a.mp4", "a dog runs", Media(str(tmp_path / "videos/a.mp4")))


def test_a_folder_needs_two_columns_and_carries_the_others_along(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "licence,caption,file\nCC0,a dog,sub/a.mp4\n", "folder")
    assert (row.id, row.caption, row.licence) == ("sub/a.mp4", "a dog", "CC0")
    assert row.extra == {"licence": "CC0"}


def test_wrong_columns_are_listed_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError) as problem:
        rows_of(tmp_path, "videoid,url,text\n1,2,3\n")
    assert "no column page_dir, name" in str(problem.value)
    assert "found videoid, url, text" in str(problem.value)
    assert "expected page_dir, videoid, name" in str(problem.value)
    with pytest.raises(UserError, match="found an empty file"):
        rows_of(tmp_path, "")


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = PoolSettings(format="folder", path="gone.csv", videos="videos")
    with pytest.raises(UserError, match=r"gone\.csv"):
        list(read_source(settings, tmp_path))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a.mp4,", "caption is empty"),
        (b'a.mp4,"  "', "caption is empty"),
        (b"a.mp4", "fewer columns"),
        (b"a.mp4,caf\xe9", "not UTF-8"),
        (b"../../etc/a.mp4,a dog", "out of the folder"),
    ],
)
def test_a_bad_row_is_a_row_with_its_problem(tmp_path: Path, line: bytes, reason: str) -> None:
    rows = rows_of(tmp_path, b"file,caption\n" + line + b"\nb.mp4,a cat\n", "folder")
    good, bad = sorted(rows, key=lambda row: row.problem or "")
    assert bad.problem is not None and reason in bad.problem
    assert (good.id, good.problem) == ("b.mp4", None)
