"""A folder: a table beside videos, or texts beside them."""

import json
import os
from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media
from tests.core.pool.rows import by_id, read, write


def test_a_folder_of_videos_with_texts_beside_them(tmp_path: Path) -> None:
    for name in ("a.mp4", "sub/b.GIF", "c.webp", "d.webm", "notes.md", "e.mp4"):
        write(tmp_path / "videos" / name, "media")
    for name, text in (("a", "a dog\n"), ("sub/b", " a cat "), ("c", ""), ("d", "ein\ufeff Café")):
        write(tmp_path / "videos" / f"{name}.txt", text)
    (tmp_path / "videos/bad.mp4").write_bytes(b"media")
    (tmp_path / "videos/bad.txt").write_bytes(b"caf\xe9")
    rows = by_id(tmp_path, format="folder", path="videos")
    assert rows.keys() == {"a.mp4", "sub/b.GIF", "c.webp", "d.webm", "e.mp4", "bad.mp4"}
    assert (rows["sub/b.GIF"].caption, rows["sub/b.GIF"].media) == (
        "a cat",
        Media(str(tmp_path / "videos/sub/b.GIF")),
    )
    assert rows["c.webp"].problem == "the caption is empty"
    assert rows["e.mp4"].problem == "there is no e.txt"
    assert rows["bad.mp4"].problem == "bad.txt is not UTF-8"


def test_a_caption_that_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "videos/a.mp4", "media")
    os.mkfifo(tmp_path / "videos/a.txt")
    (row,) = read(tmp_path, format="folder", path="videos")
    assert row.problem == "a.txt cannot be read: it is no plain file"


def test_a_folder_of_images_and_a_video_with_its_thumbnail(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.PNG", "c.jpeg", "film.mp4", "film.jpg"):
        write(tmp_path / name, "media")
        write((tmp_path / name).with_suffix(".txt"), f"this is {name}")
    write(tmp_path / "film_0001.png", "a frame of the film, without a caption")
    assert by_id(tmp_path, format="folder", path=".").keys() == {"a.jpg", "b.PNG", "c.jpeg", "film.mp4"}


def test_an_image_without_a_caption_is_told_where_all_are_images(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", "media")
    assert by_id(tmp_path, format="folder", path=".")["a.jpg"].problem == "there is no a.txt"


def test_a_folder_with_json_lines_whose_columns_have_other_names(tmp_path: Path) -> None:
    lines = [
        {"file_name": "a.mp4", "text": "a dog", "from": 1, "to": "0:04"},
        {"file_name": "b.mp4", "text": "x"},
    ]
    write(tmp_path / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    columns = {"path": "file_name", "caption": "text", "start": "from", "stop": "to"}
    first, second = read(tmp_path, format="folder", path="metadata.jsonl", columns=columns)
    assert (first.id, first.caption) == ("a.mp4", "a dog")
    assert first.media == Media(str(tmp_path / "a.mp4"), start=1.0, stop=4.0)
    assert second.problem == "its start and stop are no span of a video"


def test_a_licence_is_that_of_a_column_or_of_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "file,caption,License\na.mp4,x,CC0\nb.mp4,y,\n")
    rows = by_id(tmp_path, format="folder", path="t.csv", licence="CC-BY-4.0")
    assert [row.licence for row in rows.values()] == ["CC0", "CC-BY-4.0"]


def test_a_column_of_the_settings_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "file,caption\n")
    with pytest.raises(UserError, match=r"no column title; found file, caption; expected file, title"):
        read(tmp_path, format="folder", path="t.csv", columns={"caption": "title"})
