"""The repository's settings with some lines replaced, for a project of a benchmark's own."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def replaced(text: str, line: str, other: str) -> str:
    """Replace the one line of the settings that matches; end where there is none or more than one."""
    text, found = re.subn(line, other, text, flags=re.MULTILINE)
    if found != 1:
        raise SystemExit(f"settings.toml: {found} lines match {line}; this benchmark replaces exactly one")
    return text
