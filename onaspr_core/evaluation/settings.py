"""The settings of an evaluation: its real side, its networks, its resampling.

What does not belong here: reading the settings file (`onaspr_core.settings`).
"""

from typing import Literal

from pydantic import model_validator

from onaspr_core.evaluation.published import PUBLISHED
from onaspr_core.setting_types import Count, Section


class BenchmarkSettings(Section):
    """The real side of an evaluation: videos or images that scores are measured against.

    `format`, `path` and `videos` are those of `docs/benchmarks.md`. `seed` chooses one of several captions,
    and of MS-COCO `size` images, 5,000 where it is left out. `fvd_stride` is how many real frames pass
    between two that FVD sees; the paper takes every 5th. Choose it so that real and generated clips move at
    one pace.
    """

    format: Literal["webvid", "folder", "msr-vtt", "ucf101", "coco", "flickr30k"] = "webvid"
    path: str
    videos: str | None = None
    seed: int = 0
    size: Count | None = None
    fvd_stride: Count = 5

    @model_validator(mode="after")
    def _of_its_form(self) -> "BenchmarkSettings":
        if self.videos is None and self.format in ("webvid", *PUBLISHED):
            raise ValueError(f"format {self.format} needs `videos`, the folder of its files")
        if self.size is not None and self.format != "coco":
            raise ValueError(f"format {self.format} is measured whole; remove `size`, which is coco's")
        if self.seed and self.format in ("webvid", "folder", "ucf101"):
            raise ValueError(f"format {self.format} leaves no caption to choose; remove `seed`")
        return self


class FeatureSettings(Section):
    """The networks that metrics are computed on, each a local folder, and the name they are shown by.

    An experiment whose backbone makes images, of one frame, has no `video_classifier`.
    """

    label: str
    image_classifier: str
    image_text: str
    video_classifier: str | None = None


class EvaluationSettings(Section):
    """What is measured, on which features, with how much resampling."""

    features: FeatureSettings
    benchmark: BenchmarkSettings | None = None
    inception_splits: Count = 10
    bootstrap_samples: Count = 2000
    seed: int = 0
    batch_size: Count = 16
