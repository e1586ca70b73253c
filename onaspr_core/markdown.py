"""Tables in Markdown, of texts that anybody may have written: nothing in a cell is markup."""

from collections.abc import Iterable, Sequence

_ESCAPED = "\\`*_[]!|#~"


def cell(text: str) -> str:
    """Return a text as it stands in a cell: on one line, with every mark of Markdown and HTML escaped."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{character}" if character in _ESCAPED else character for character in line)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; header and cells are plain texts, which are escaped here.

    Raises:
        ValueError: when a row has not as many cells as the header.
    """
    return _laid_out(_escaped(header), "|" + "---|" * len(header), map(_escaped, rows))


def table_of_numbers(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column stands to the left and all others to the right.

    Header and cells are Markdown already: what plain texts go into them, `cell` escapes.

    Raises:
        ValueError: as `table`.
    """
    return _laid_out(header, _row([":---", *["---:"] * (len(header) - 1)]), rows)


def _laid_out(header: Sequence[str], rule: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(header), rule]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} cells under {len(header)} headings: {row!r}")
        lines.append(_row(row))
    return "\n".join(lines)


def _escaped(texts: Sequence[str]) -> list[str]:
    return [cell(text) for text in texts]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
