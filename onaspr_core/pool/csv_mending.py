"""CSV files that DuckDB's reader loses rows of: a quote that is never closed, line ends of two kinds.

DuckDB refuses a row whose quote is not closed together with whatever it swallowed until the next quote, tens
of thousands of rows at worst. A mended copy has every such line blanked out, and all others as they are.
"""

import io
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from onaspr_core.folders import to_read

LONGEST = 64 * 1024
"""A quoted field longer than this, in bytes, is taken for one whose quote was never closed."""

LONGEST_LINE = 2**22
"""Bytes of a line that are looked at. DuckDB refuses one of half as many."""


def mend_csv(path: str, mended: Path, delimiter: str, quoted: bool = True) -> Iterator[tuple[int, str]]:
    """Write a copy whose every row is well-formed; yield number and text of the lines that were not.

    A blank line stands where such a line stood, so that lines keep their numbers; every line ends in a line
    feed.

    Args:
        path: The file, or a URL.
        mended: Where the copy goes.
        delimiter: What stands between columns: one ASCII character.
        quoted: Whether fields may be quoted; where they may not, only line ends are mended.
    """
    of_first, of_further = _patterns(delimiter)
    with to_read(path, unpacked=True) as source, mended.open("wb") as target:
        lines = enumerate(_lines(source), 1)
        again: deque[tuple[int, bytes]] = deque()
        held: list[tuple[int, bytes]] = []
        size = -1
        while True:
            number, line = again.popleft() if again else next(lines, (0, b""))
            if number and not held and not (quoted and b'"' in line):
                target.write(line + b"\n")
                continue
            if not number and not held:
                return
            whole, unfinished = of_further if held else of_first
            held += [(number, line)] if number else []
            size += len(line) + 1
            if number and whole.fullmatch(line):
                target.write(b"".join(text + b"\n" for _, text in held))
            elif number and size <= LONGEST and unfinished.fullmatch(line):
                continue
            else:
                target.write(b"\n")
                yield held[0][0], held[0][1].decode("utf-8", "replace")
                again.extendleft(reversed(held[1:]))
            held, size = [], -1


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, whatever ends them; of one that no table can hold, the beginning."""
    text = io.TextIOWrapper(source, "latin-1", newline=None)
    while line := text.readline(LONGEST_LINE):
        yield line.rstrip("\n").encode("latin-1")
        while not line.endswith("\n") and line:
            line = text.readline(LONGEST_LINE)


_Patterns = tuple[re.Pattern[bytes], re.Pattern[bytes]]


def _patterns(delimiter: str) -> tuple[_Patterns, _Patterns]:
    """What a line looks like with which a row is whole, and one whose last field is quoted and still open.

    The second two are those of a line that begins within such a field. Every line is matched by itself, so
    that a row of many lines takes no more time than as many rows.
    """
    between = re.escape(delimiter).encode()
    quoted = rb'(?:[^"]|"")*+'
    field = rb'(?:"' + quoted + rb'"|[^"' + between + rb"][^" + between + rb"]*+|)"
    fields = rb"(?:" + field + between + rb")*+"
    opened = fields + rb'"' + quoted
    closed = quoted + rb'"'
    first = re.compile(fields + field), re.compile(opened)
    further = (
        re.compile(closed + rb"(?:" + between + fields + field + rb")?"),
        re.compile(quoted + rb'(?:"' + between + opened + rb")?"),
    )
    return first, further
