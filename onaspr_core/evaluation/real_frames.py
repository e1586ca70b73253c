"""Frames of a benchmark's videos, decoded in a process that can be killed, as those of pools are.

This module is what that process imports, so it stays light. What does not belong here: which videos there are
(`benchmarks`), and which of their frames a metric sees (`frame_sampling`).
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

from onaspr_core.errors import PassingError, UserError
from onaspr_core.media.video import Frames, read_frames
from onaspr_core.paths import file_sha256
from onaspr_core.pool.workers import MEMORY_PER_PROCESS, SECONDS_PER_FILE, run_jobs, told_of_lost


@dataclass(frozen=True)
class RealFrames:
    """The first `limit` frames of a real video.

    With `sha256` the file must be the one that was noted. With `shape`, a height and a width, frames are
    cropped to that aspect ratio.
    """

    path: str
    limit: int
    sha256: str = ""
    shape: tuple[int, int] | None = None


def read_real(wanted: Iterable[RealFrames]) -> Generator[Frames | UserError]:
    """Yield the frames of each, uint8 (F, H, W, 3), or why there are none, in order.

    Takes at most `SECONDS_PER_FILE` and `MEMORY_PER_PROCESS` for each. One is decoded while the caller works
    on the one before.
    """
    read = run_jobs(wanted, read_one, _lost, processes=1, seconds=SECONDS_PER_FILE, memory=MEMORY_PER_PROCESS)
    yield from (found for found in read if found is not None)


def read_one(wanted: RealFrames) -> Frames | UserError:
    """Return the frames, or why there are none. Raises nothing."""
    try:
        if wanted.sha256:
            _check_noted(wanted)
        frames = read_frames(wanted.path, limit=wanted.limit)
        return frames if wanted.shape is None else crop_to_aspect(frames, *wanted.shape)
    except UserError as problem:
        return problem
    except Exception as problem:
        return PassingError(f"{wanted.path}: cannot be read: {type(problem).__name__}: {problem}")


def crop_to_aspect(frames: Frames, height: int, width: int) -> Frames:
    """The largest centre crop of uint8 (F, H, W, 3) with the aspect ratio of `height` : `width`.

    Real videos are wider than generated ones; compared as they are, a network that reads squares would
    see the one side squashed. Nothing is resized here.
    """
    high, wide = frames.shape[1:3]
    new_high, new_wide = min(high, wide * height // width), min(wide, high * width // height)
    top, left = (high - new_high) // 2, (wide - new_wide) // 2
    return frames[:, top : top + new_high, left : left + new_wide]


def _check_noted(wanted: RealFrames) -> None:
    try:
        unchanged = file_sha256(Path(wanted.path)) == wanted.sha256
    except OSError as problem:
        raise UserError(
            f"{wanted.path} cannot be read: {problem.strerror}; put it there and materialize benchmark_videos"
        ) from problem
    if not unchanged:
        raise UserError(
            f"{wanted.path} has changed since benchmark_videos noted it; materialize benchmark_videos again"
        )


def _lost(wanted: RealFrames, how: str) -> UserError:
    return UserError(f"{wanted.path}: {told_of_lost(how, SECONDS_PER_FILE)}")
