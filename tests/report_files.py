"""A written gallery as its page reads it."""

import json
from pathlib import Path
from typing import Any


def called_with(file: Path) -> list[Any]:
    """What a data file of a report hands to its function: the JSON of each argument."""
    text = file.read_text(encoding="ascii")
    arguments: list[Any] = json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")
    return arguments


def gallery_of(folder: Path) -> dict[str, Any]:
    """The data of an experiment's cards."""
    (data,) = called_with(folder / "gallery.js")
    assert isinstance(data, dict)
    return data


def made_of(gallery: dict[str, Any]) -> list[str]:
    """The generated files that the cards show, relative to the gallery's folder."""
    keys = [video["key"] for prompt in gallery["prompts"] for video in prompt["videos"] if "key" in video]
    return [f"{gallery['noun']}s/{key}{gallery['suffix']}" for key in keys]


def clips_of(gallery: dict[str, Any]) -> list[str]:
    """The neighbours' clips that the cards show."""
    return [f"clips/{prompt['clip']}.mp4" for prompt in gallery["prompts"] if "clip" in prompt]
