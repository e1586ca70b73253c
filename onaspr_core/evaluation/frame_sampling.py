"""Which frames of a video each metric sees: the rules of the paper, and what it leaves open.

Pure index arithmetic; reading the frames is elsewhere. A rule is a value with a stable name, and
that name is part of the content key of every feature that was computed under it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onaspr_core.errors import UserError


@dataclass(frozen=True)
class FrameRule:
    """`count` frames every `stride`; `count` None takes every `stride`-th frame there is.

    `short` says what a video with too few frames does. `"spread"` takes `count` frames spread evenly over
    it. `"last"` ends on the last frame (0, 4, 8, 12, 15 of 16 frames), and spreads them where that would take
    a frame twice (0, 2, 4, 5, 7 of 8 frames). The second half is our addition: the paper speaks of 16 frames,
    and equal rows make a covariance of videos that do not exist. `"fewer"` takes those that there are.
    """

    count: int | None
    stride: int = 1
    short: Literal["last", "spread", "fewer"] = "last"

    @property
    def name(self) -> str:
        """The rule in words that never change, for content keys and captions of tables."""
        if self.count is None:
            return "all frames" if self.stride == 1 else f"every {self.stride}th frame"
        short = "last frame, or spread where one would repeat" if self.short == "last" else self.short
        return f"{self.count} frames, every {self.stride}th, short: {short}"

    def indices(self, frames: int) -> tuple[int, ...]:
        """Indices into a video of `frames` frames, in order; distinct where it has `count` frames or more.

        A video of fewer frames repeats them as evenly as it can, but where `short` is "fewer". Raises
        UserError for a video without frames.
        """
        if frames < 1:
            raise UserError("A video without frames has no frames to sample; make the video again.")
        if self.count is None:
            return tuple(range(0, frames, self.stride))
        if self.short == "fewer":
            return tuple(range(0, frames, self.stride))[: self.count]
        strided = tuple(min(i * self.stride, frames - 1) for i in range(self.count))
        if self.last_index < frames or (self.short == "last" and len(set(strided)) == self.count):
            return strided
        return spread_evenly(frames, self.count)

    @property
    def last_index(self) -> int:
        """Largest index that a counted rule asks for: no frame behind it need be decoded."""
        if self.count is None:
            raise ValueError("a rule that takes all frames has no last index")
        return (self.count - 1) * self.stride


def spread_evenly(frames: int, count: int) -> tuple[int, ...]:
    """`count` indices from first to last frame, evenly spaced, halves rounded up.

    The arithmetic is in integers, so no machine rounds another way. One index is the first frame.
    """
    if count == 1:
        return (0,)
    last, gaps = frames - 1, count - 1
    return tuple((2 * i * last + gaps) // (2 * gaps) for i in range(count))


ALL_FRAMES = FrameRule(count=None)
FID_GENERATED = FrameRule(count=5, stride=4)
FID_REAL = FrameRule(count=5, stride=12)
"""The paper: five per video, real every 12th, generated every 4th, the last frame where it ends."""

FID_REAL_BESIDE_IMAGES = FrameRule(count=5, stride=12, short="fewer")
"""The real side of generated images: images as well, or of a video up to five frames, none twice."""

FVD_REAL_STRIDE = 5


def fvd_real(frames: int, stride: int = FVD_REAL_STRIDE) -> FrameRule:
    """The real side of FVD: as many frames as the generated videos have, every 5th.

    Shorter real clips take that many frames spread evenly. `frames` is 16 in the paper; `stride` is
    the paper's 5 unless a benchmark was filmed at another pace than 25 to 30 frames a second.
    """
    return FrameRule(count=frames, stride=stride, short="spread")
