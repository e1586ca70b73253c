"""Text as sources hold it, made fit to be stored.

What does not belong here: tables of text (`text_tables`).
"""

LONGEST_TEXT = 2**20
"""Bytes of a file beside a video. Read one more, and `decoded` tells of those that are longer."""


def decoded(data: bytes, name: str) -> tuple[str, str | None]:
    """Return what a UTF-8 text says, and why it cannot be used where it is not UTF-8 or too long.

    Args:
        data: The text, with or without a byte order mark.
        name: What the reason calls it.
    """
    if len(data) > LONGEST_TEXT:
        return "", f"{name} has more than {LONGEST_TEXT:,} bytes"
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), f"{name} is not UTF-8"


def storable(text: str) -> str:
    """Return a text with U+FFFD for each half of a surrogate pair, which no table can hold.

    JSON may escape one half alone, and Python puts one for each byte of a file's name that is not UTF-8.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
