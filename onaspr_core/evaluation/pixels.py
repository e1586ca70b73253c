"""Steps between frames, kept as features are: the one metric of pixels reads no video of its own.

A video is decoded once for all feature items beside one another (`encoding`); an item of this set keeps
the mean absolute difference of each two consecutive frames, F − 1 numbers, so that flicker is computed
like any other metric, from what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.evaluation.extractors import PIXELS, Arrays, FeatureSet
from onaspr_core.evaluation.temporal import steps
from onaspr_core.media.video import Frames


def describe_pixels() -> FeatureSet:
    """The feature set of frames' differences; it has no files."""
    fingerprint = content_key("feature-extractor", role="pixels", version=code_versions.FEATURES)
    return FeatureSet("pixels", PIXELS, "8-bit", Path(), fingerprint)


class PixelSteps:
    """The extractor of a feature set without a network."""

    width = 1

    def __init__(self, feature_set: FeatureSet) -> None:
        """Take the description that `describe_pixels` gave."""
        self.feature_set = feature_set

    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """`"steps"` (F − 1,) of each video, 0 … 255. Raises UserError for one of a single frame."""
        return [{"steps": np.array(steps(frames), dtype=np.float32)} for frames in videos]

    def texts(self, texts: Sequence[str]) -> list[Arrays]:
        """Nothing is asked this: pixels read no text."""
        raise ValueError("pixels read no text")


def load(feature_set: FeatureSet, device: str) -> PixelSteps:
    """The extractor; there is nothing to load, and any device will do."""
    return PixelSteps(feature_set)
