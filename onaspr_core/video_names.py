"""The content key that a video's file name holds, in the store, in reports and in copies of these."""

import re

_KEY_IN_NAME = re.compile(r"(?:^|/)([0-9a-f]{40})(?:-[0-9a-f]{8})?\.(?:mp4|png)$")


def key_in_name(path: str) -> str | None:
    """Return the key in a path such as `videos/KEY.mp4`, or None where it holds none."""
    named = _KEY_IN_NAME.search(path)
    return named[1] if named else None
