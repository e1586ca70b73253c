"""The lists of MSR-VTT and MS-COCO as they are published: JSON, of which only captions and names are kept.

What does not belong here: which captions and images are chosen (`benchmark_lists`).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec

from onaspr_core.errors import UserError
from onaspr_core.evaluation.published import how_to_get
from onaspr_core.pool.texts import storable

LARGEST = 2**28
"""Bytes of a list; that of MS-COCO's 82,783 training images, the largest of these forms, has 2^26."""

_USED = frozenset(
    {
        *("videos", "sentences", "video_id", "split", "caption"),
        *("images", "annotations", "image_id", "id", "file_name"),
    }
)


@dataclass(frozen=True)
class Captioned:
    """A video or image: all of its captions, its file below the folder of videos, its attributes."""

    id: str
    captions: tuple[str, ...]
    file: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def read_list(path: str, form: str) -> bytes:
    """Return the bytes of a list, up to `LARGEST`.

    Raises:
        UserError: when there is no such file, or it is too large to be a list.
    """
    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read(LARGEST + 1)
    except (OSError, ValueError) as problem:
        raise UserError(f"{path} cannot be read: {problem}; {how_to_get(form)}") from problem
    if len(data) > LARGEST:
        raise UserError(f"{path} has more than {LARGEST:,} bytes and is no {form} list; {how_to_get(form)}")
    return data


def msr_vtt_test(path: str) -> Iterator[Captioned]:
    """Yield the videos of the test split with all of their captions, in the order of the file.

    Raises:
        UserError: when the file cannot be read, is of another form, or has no video of the test split.
    """
    listed = _read_json(path, "msr-vtt")
    try:
        captions = _by_id(listed["sentences"], "video_id")
        videos = [(_name(video["video_id"]), str(video["split"])) for video in listed["videos"]]
    except (KeyError, TypeError, ValueError) as problem:
        expected = "videos, each with video_id and split, and sentences, each with video_id and caption"
        raise _of_another_form(path, "msr-vtt", expected, problem) from problem
    test = [video for video, split in videos if split == "test"]
    if not test:
        splits = ", ".join(f"{n} of {name!r}" for name, n in Counter(split for _, split in videos).items())
        raise UserError(
            f"{path} has no video of the split 'test' (it has {splits or 'none at all'}); "
            f"{how_to_get('msr-vtt')}"
        )
    for video in test:
        yield Captioned(video, tuple(captions.get(video, ())), f"{video}.mp4")


def coco_images(path: str) -> Iterator[Captioned]:
    """Yield the images of `captions_val2014.json` with all of their captions, in the order of the file.

    Raises:
        UserError: when the file cannot be read or is of another form.
    """
    listed = _read_json(path, "coco")
    try:
        captions = _by_id(listed["annotations"], "image_id")
        images = [(image["id"], _name(image["file_name"])) for image in listed["images"]]
        found = [Captioned(name.rpartition(".")[0], tuple(captions.get(i, ())), name) for i, name in images]
    except (KeyError, TypeError, ValueError) as problem:
        expected = "images, each with id and file_name, and annotations, each with image_id and caption"
        raise _of_another_form(path, "coco", expected, problem) from problem
    yield from found


def _read_json(path: str, form: str) -> Any:
    try:
        return json.loads(read_list(path, form), object_hook=_used)
    except (ValueError, RecursionError) as problem:
        raise UserError(f"{path} is damaged, or no JSON: {problem}; {how_to_get(form)}") from problem


def _used(value: dict[str, Any]) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name in _USED}


def _by_id(rows: Any, id_: str) -> dict[Any, list[str]]:
    captions: dict[Any, list[str]] = {}
    for row in rows:
        if not isinstance(row["caption"], str):
            raise TypeError(f"the caption {row['caption']!r} is no text")
        captions.setdefault(row[id_], []).append(" ".join(storable(row["caption"]).split()))
    return captions


def _name(value: Any) -> str:
    """A name that leads into no other folder."""
    if not isinstance(value, str) or not value or value[0] == "." or set(value) & set("/\\\0"):
        raise ValueError(f"{value!r} is no name of a file")
    return storable(value)


def _of_another_form(path: str, form: str, expected: str, problem: Exception) -> UserError:
    told = f"no {problem}" if isinstance(problem, KeyError) else str(problem)
    return UserError(
        f"{path} is not of the form {form}: expected {expected}; found {told}; {how_to_get(form)}"
    )
