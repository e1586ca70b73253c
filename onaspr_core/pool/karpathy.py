"""Karpathy's JSON of captioned images (Flickr30k, COCO): a list of images, each with its sentences."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from onaspr_core.errors import UserError
from onaspr_core.folders import to_read
from onaspr_core.pool.texts import storable

LARGEST = 2**28
"""Bytes of a file, unpacked; that of MS-COCO, the largest of this form, has 2^27."""

_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "caption", "filename", "split", "imgid", "sentid")]
)


def karpathy_captions(files: Sequence[str]) -> pa.Table:
    """Return a row for each sentence; its id is `filename#0` and so on, as in Flickr30k's token file.

    Raises:
        UserError: when a file is not of this form.
    """
    return pa.Table.from_pylist([row for file in files for row in _rows(file)], _SCHEMA)


def _rows(path: str) -> Iterator[dict[str, str]]:
    try:
        # The tokens of a sentence say what its text says, and take most of the memory.
        with to_read(path, unpacked=True) as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"{path} has more than {LARGEST:,} bytes and is no Karpathy's JSON")
        listed = json.loads(data, object_hook=_without_tokens)
        for image in listed["images"]:
            name = image["filename"]
            if folder := image.get("filepath"):
                name = f"{folder}/{name}"
            for number, sentence in enumerate(image["sentences"]):
                row = {
                    "id": f"{name}#{number}",
                    "caption": str(sentence["raw"]),
                    "filename": name,
                    "split": str(image.get("split", "")),
                    "imgid": str(image.get("imgid", "")),
                    "sentid": str(sentence.get("sentid", "")),
                }
                yield {name: storable(text) for name, text in row.items()}
    except (OSError, ValueError, RecursionError) as problem:
        raise UserError(f"{path}: the pool's table cannot be read: {problem}") from problem
    except (KeyError, TypeError, AttributeError) as problem:
        raise UserError(
            f"{path} is not Karpathy's JSON: expected images, each with filename and sentences, each with "
            f"raw; {type(problem).__name__}: {problem}"
        ) from problem


def _without_tokens(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("tokens", None)
    return value
