"""The settings of an evaluation: its real side, its networks, its resampling.

What does not belong here: reading the settings file (`onaspr_core.settings`).
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from onaspr_core.evaluation.published import PUBLISHED
from onaspr_core.folders import is_url
from onaspr_core.setting_types import Count, Section


def _sha256(value: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError("must be 64 hexadecimal digits in lower case")
    return value


PROMPTS_OF_BENCHMARK = "benchmark"
"""In the place of a prompt file: the prompts are the captions of the experiment's benchmark."""


class NetworkSettings(Section):
    """Where a network's files are, and which state of them.

    `path` is a folder or file, a URL (which needs `sha256`), or a hub id at `revision`, as a backbone's.
    `sha256` pins a file: another content is refused.
    """

    path: str
    revision: str = "main"
    sha256: Annotated[str, AfterValidator(_sha256)] | None = None


def _form(value: Any) -> str | None:
    return "[path]" if isinstance(value, str) else "[table]" if isinstance(value, dict | Section) else None


def _pinned(network: str | NetworkSettings) -> str | NetworkSettings:
    path, sha256 = (network, None) if isinstance(network, str) else (network.path, network.sha256)
    if is_url(path) and sha256 is None:
        raise ValueError(f"a URL needs its hash: write {{ path = {path!r}, sha256 = … }}")
    return network


Network = Annotated[
    Annotated[str, Tag("[path]")] | Annotated[NetworkSettings, Tag("[table]")],
    Discriminator(
        _form,
        custom_error_type="network",
        custom_error_message="must be a path, or a table { path = …, sha256 = … }",
    ),
    AfterValidator(_pinned),
]
"""A path alone, or a table with what pins it."""


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
    """The networks that metrics are computed on, and the name they are shown by (`docs/metrics.md`).

    Inception score and accuracies are read from `inception_score_network`, or, where there is none, from the
    video classifier. An experiment whose backbone makes images, of one frame, has neither: it reads them
    from the image classifier.
    """

    label: str
    image_classifier: Network
    image_text: Network
    video_classifier: Network | None = None
    inception_score_network: Network | None = None


OF_VIDEOS = ("video_classifier", "inception_score_network")
"""Networks that read videos."""


PAPER = ("fid", "clip_fid", "clipsim", "fvd", "is")
"""The paper's metrics; the table of all is `onaspr_core.evaluation.metrics.METRICS`."""


def _metrics(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Known keys in the table's order, which decides nothing but how a version is spelled."""
    from onaspr_core.evaluation.metrics import BY_KEY

    unknown = [key for key in keys if key not in BY_KEY]
    if unknown or not keys:
        wrong = f"unknown metric {unknown[0]!r}" if unknown else "names no metric"
        raise ValueError(f"{wrong}; allowed: {', '.join(BY_KEY)}")
    return tuple(key for key in BY_KEY if key in keys)


class EvaluationSettings(Section):
    """What is measured, on which features, with how much resampling.

    `metrics` are keys of `docs/metrics.md`, the paper's five where left out. What an experiment cannot
    have (metrics of videos for images, of a real side without a benchmark) its table leaves out, and says so.
    `vbench` are results files that VBench wrote of this experiment's videos: each of their dimensions is a
    metric beside the chosen ones.
    """

    features: FeatureSettings
    metrics: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_metrics)] = PAPER
    benchmark: BenchmarkSettings | None = None
    vbench: Annotated[tuple[str, ...], Field(strict=False)] = ()
    inception_splits: Count = 10
    bootstrap_samples: Count = 2000
    seed: int = 0
    batch_size: Count = 16
