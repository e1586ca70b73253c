"""A folder of videos or images whose captions lie beside them: `name.mp4` or `name.jpg`, and `name.txt`."""

from pathlib import Path, PurePosixPath

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from onaspr_core.errors import UserError
from onaspr_core.folders import Folder, file_system
from onaspr_core.pool.listed_files import files_below, url_of
from onaspr_core.pool.texts import LONGEST_TEXT, decoded, storable

VIDEO_SUFFIXES = (".mp4", ".webm", ".gif", ".webp", ".mov", ".mkv", ".avi")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""In a folder that also holds videos an image counts only under a caption of its own."""
MEDIA_SUFFIXES = VIDEO_SUFFIXES + IMAGE_SUFFIXES

_SCHEMA = pa.schema([(name, pa.string()) for name in ("file", "caption", "problem")])


def captioned_files(path: str) -> pa.Table:
    """Return videos and images below a folder, by name: file (relative), caption, problem.

    Raises:
        UserError: when the folder holds neither.
    """
    filesystem, inside = file_system(path)
    root = url_of(filesystem, path, inside).rstrip("/") + "/"
    below = [(one, PurePosixPath(one)) for one in files_below(path)]
    texts = {str(file.with_suffix("")): one for one, file in below if file.suffix.lower() == ".txt"}
    filmed = {str(file.with_suffix("")) for _, file in below if file.suffix.lower() in VIDEO_SUFFIXES}
    media = []
    for one, file in below:
        stem = str(file.with_suffix(""))
        beside = file.suffix.lower() in IMAGE_SUFFIXES and filmed and (stem in filmed or stem not in texts)
        if file.suffix.lower() in MEDIA_SUFFIXES and not beside:
            media.append((one.removeprefix(root), file.stem, texts.get(stem)))
    if not media:
        raise UserError(
            f"{path}: no video or image below this folder; expected files {', '.join(MEDIA_SUFFIXES)}"
        )

    def row(found: tuple[str, str, str | None]) -> dict[str, str | None]:
        name, stem, text = found
        caption, problem = _caption(filesystem, text) if text else ("", f"there is no {stem}.txt")
        if storable(name) != name:
            problem = "its name is not UTF-8"
        return {"file": storable(name), "caption": caption, "problem": problem and storable(problem)}

    return pa.Table.from_pylist(list(Folder(path).map(row, media)), _SCHEMA)


def _caption(filesystem: object, text: str) -> tuple[str, str | None]:
    name = PurePosixPath(text).name
    if isinstance(filesystem, LocalFileSystem) and not Path(text).is_file():
        return "", f"{name} cannot be read: it is no plain file"
    try:
        with filesystem.open(text, "rb") as file:  # type: ignore[attr-defined]
            data: bytes = file.read(LONGEST_TEXT + 1)
    except OSError as problem:
        return "", f"{name} cannot be read: {problem.strerror or problem}"
    return decoded(data, name)
