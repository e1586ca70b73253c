"""Where one video or image of a pool lies: a file, a part of a tar or of a Parquet file, a span of a video.

What does not belong here: which media a pool has (`sources`), and decoding (`onaspr_core.video`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Media:
    """A place that bytes can be read from, and the span of them that is meant.

    `path` is a file or an fsspec URL. `member` names a part of it: a file in a tar, or `COLUMN/ROW` of a
    Parquet file; it is empty for the file itself. `start` and `stop` are seconds into the video, None for
    its ends.
    """

    path: str
    member: str = ""
    start: float | None = None
    stop: float | None = None

    def __str__(self) -> str:
        """For people: the path, then the part, then the span."""
        part = f"!{self.member}" if self.member else ""
        if self.start is None and self.stop is None:
            return f"{self.path}{part}"
        stop = "end" if self.stop is None else f"{self.stop:g} s"
        return f"{self.path}{part} [{self.start or 0:g} s … {stop}]"
