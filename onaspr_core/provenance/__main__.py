"""`python -m onaspr_core.provenance WHAT`: print what a video was made from.

WHAT is an MP4, or of an image a PNG (in the store, in a report, or a copy), a content key or its first
digits, or EXPERIMENT/VARIANT/PROMPT.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from onaspr_core.errors import PlainError
from onaspr_core.provenance.answer import Provenance, provenance_of
from onaspr_core.settings import default_path, load_settings
from onaspr_core.workspace import Workspace


def main(arguments: list[str] | None = None) -> int:
    """Print the answer; 1 with a sentence on standard error where there is none."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.provenance", description=__doc__)
    parser.add_argument("what", metavar="WHAT", help="an MP4, a PNG, a key or its first digits, or a name")
    parser.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    try:
        answer = provenance_of(Workspace(load_settings(chosen.settings)), chosen.what)
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(json.dumps(asdict(answer), indent=1, ensure_ascii=False) if chosen.json else as_text(answer))
    return 0


def as_text(answer: Provenance) -> str:
    """Lay out an answer for people: sections of aligned names and values; what is None is left out."""
    sections: dict[str, Any] = asdict(answer)
    notes = sections.pop("notes")
    sections = {answer.noun: sections.pop("video"), **sections}
    rows = {title: (list(_rows(facts)) if facts else [("none", "")]) for title, facts in sections.items()}
    width = max(len(name) for section in rows.values() for name, _ in section)
    lines = []
    for title, section in rows.items():
        lines += [title, *(f"  {name:<{width}}  {value}".rstrip() for name, value in section), ""]
    return "\n".join([*lines, *(["notes", *(f"  {note}" for note in notes)] if notes else [])]).rstrip()


def _rows(facts: Mapping[str, Any], indent: str = "") -> Iterator[tuple[str, str]]:
    """Names and values, those of an inner mapping indented under its name, those of a list one a line."""
    for key, value in facts.items():
        name = indent + key.replace("_", " ")
        if isinstance(value, Mapping) and value:
            yield name, ""
            yield from _rows(value, f"{indent}  ")
        elif isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            yield from ((name if place == 0 else "", one) for place, one in enumerate(value))
        elif isinstance(value, list | tuple):
            yield name, " × ".join(map(str, value))
        elif value not in (None, "", {}):
            yield name, f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
