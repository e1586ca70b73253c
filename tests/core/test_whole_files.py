"""A file that is written appears whole or not at all."""

import os
from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.whole_files import PARTIAL, write_whole


def test_a_file_is_written_into_a_folder_that_is_made_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    for data in (b"first", b"second"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert [one.name for one in path.parent.iterdir()] == ["b.json"]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.json"
    write_whole(path, b"first")

    def full(number: int) -> None:
        assert any(one.name.endswith(PARTIAL) for one in tmp_path.iterdir())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"b\.json cannot be written: the disk is full"):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert [one.name for one in tmp_path.iterdir()] == ["b.json"]
