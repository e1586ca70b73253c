"""Captions and names that are not UTF-8, or hold half a character: a row with its problem, never a crash."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from onaspr_core.errors import UserError
from tests.core.pool.packed import write_tar
from tests.core.pool.rows import by_id

LATIN = "caf\xe9".encode("latin-1")
ODD_NAME = os.fsdecode(LATIN)


def test_captions_in_tars_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    members = {
        "latin.mp4": b"media",
        "latin.txt": LATIN,
        "json.mp4": b"media",
        "json.json": b'{"caption": "' + LATIN + b'"}',
        "good.mp4": b"media",
        "good.txt": b"\xef\xbb\xbfa dog",
        "good.json": LATIN,
    }
    write_tar(tmp_path / "0.tar", members)
    rows = by_id(tmp_path, format="webdataset", path="0.tar")
    assert {id_: row.problem for id_, row in rows.items()} == {
        "latin": "latin.txt is not UTF-8",
        "json": "json.json is not UTF-8",
        "good": None,
    }
    assert rows["good"].caption == "a dog"


def test_half_a_character_in_json_is_one_that_can_be_stored(tmp_path: Path) -> None:
    half = '{"caption": "a dog \\ud83d", "note \\udc36": "\\ud83d"}'
    write_tar(tmp_path / "0.tar", {"a.mp4": b"media", "a.json": half.encode()})
    (row,) = by_id(tmp_path, format="webdataset", path="0.tar").values()
    assert (row.caption, row.problem) == ("a dog \ufffd", None)
    sentences = [{"raw": "a dog \ud83d"}, {"raw": "\ud83d\udc36"}]
    images = {"images": [{"filename": "1.jpg", "sentences": sentences}]}
    (tmp_path / "k.json").write_text(json.dumps(images))
    rows = by_id(tmp_path, format="flickr30k", path="k.json", videos="v")
    assert [row.caption for row in rows.values()] == ["a dog \ufffd", "\U0001f436"]
    (tmp_path / "t.jsonl").write_text(
        '{"file": "a.mp4", "caption": "x\\ud83d"}\n{"file": "b.mp4", "caption": "y"}\n'
    )
    assert "b.mp4" in by_id(tmp_path, format="folder", path="t.jsonl")


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", {f"{ODD_NAME}.mp4": b"media", f"{ODD_NAME}.txt": b"x", "b.mp4": b"media"})
    rows = by_id(tmp_path, format="webdataset", path="0.tar")
    assert rows["caf\ufffd"].problem == "its name is not UTF-8"
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in (f"{ODD_NAME}.mp4", "b.mp4"):
        (folder / name).write_bytes(b"media")
    rows = by_id(tmp_path, format="folder", path="videos")
    assert rows["caf\ufffd.mp4"].problem == "its name is not UTF-8"
    assert rows["b.mp4"].problem == "there is no b.txt"
    with pytest.raises(UserError, match="is not UTF-8; rename it"):
        by_id(tmp_path, format="folder", path="videos/*.mp4")


def test_a_caption_that_cannot_be_opened_is_one_row_with_its_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp4", "a.txt", "b.mp4", "b.txt"):
        (tmp_path / name).write_text("text")
    opened: Callable[..., Any] = LocalFileSystem.open

    def refuse_one(self: LocalFileSystem, path: str, *how: Any, **more: Any) -> Any:
        if path.endswith("a.txt"):
            raise PermissionError(13, "Permission denied", path)
        return opened(self, path, *how, **more)

    monkeypatch.setattr(LocalFileSystem, "open", refuse_one)
    rows = by_id(tmp_path, format="folder", path=str(tmp_path))
    assert rows["a.mp4"].problem == "a.txt cannot be read: Permission denied"
    assert rows["b.mp4"].problem is None


def test_a_line_that_pythons_reader_refuses_too_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"file,caption\na.mp4,{'x' * 200_000},more\nb.mp4,y\n")
    rows = by_id(tmp_path, format="folder", path="t.csv")
    assert rows["a.mp4"].problem == "line 2 of the table has more columns than its header"
    assert rows["b.mp4"].problem is None
