"""The metrics by name: one table that says of each what it reads, which way is better, and its arithmetic.

The arithmetic itself is in `arithmetic`; items, keys and the catalog are the concern of `scores`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from onaspr_core.evaluation.arithmetic import (
    ALL,
    FRECHET,
    FRECHET_INFINITY,
    INCEPTION,
    AttributeRight,
    OfSet,
    OfVideo,
    by_kernel,
    clipsim_of,
    consistency_of,
    flicker_of,
    result_of,
)
from onaspr_core.evaluation.extractors import LabelGroup
from onaspr_core.evaluation.frame_sampling import FID_GENERATED, FrameRule
from onaspr_core.evaluation.kernel_distance import CMMD, JEDI, KID

Network = Literal["image", "image_text", "video", "classes", "pixels", "vbench"]
"""What a metric reads a video from; "vbench" is VBench itself, whose results are read as they are."""

Reads = Literal["text", "attributes", "classes", "splits"]

RIGHT = "right:"
ALL_RIGHT = f"{RIGHT}{ALL}"
VBENCH = "vbench:"


@dataclass(frozen=True)
class Metric:
    """A metric: `key` in the catalog, `title` for people, the network it reads, and its arithmetic.

    `reads` is what it needs beside features of videos: the prompt's text or attributes, class probabilities
    in place of features, the splits of the settings. `frames` are those it takes of the generated frames that
    are kept, None for all. `of_images` says whether images have it.
    """

    key: str
    title: str
    network: Network
    arithmetic: OfVideo | OfSet
    lower_is_better: bool
    needs_real: bool = False
    reads: tuple[Reads, ...] = ()
    frames: FrameRule | None = None
    of_images: bool = True

    @property
    def per_prompt(self) -> bool:
        """Whether each video has a value of its own."""
        return isinstance(self.arithmetic, OfVideo)

    @property
    def arrow(self) -> str:
        """↓ where lower is better, ↑ where higher is."""
        return "↓" if self.lower_is_better else "↑"

    @property
    def is_accuracy(self) -> bool:
        """Whether it is one of the classifier's attribute accuracies, shown in percent."""
        return "attributes" in self.reads


def _distance(
    key: str,
    title: str,
    network: Network,
    arithmetic: OfSet,
    frames: FrameRule | None = None,
    of_images: bool = True,
) -> Metric:
    return Metric(key, title, network, arithmetic, True, needs_real=True, frames=frames, of_images=of_images)


METRICS = (
    _distance("fid", "FID", "image", FRECHET),
    _distance("clip_fid", "CLIP-FID", "image_text", FRECHET, FID_GENERATED),
    Metric("clipsim", "CLIPSIM", "image_text", OfVideo(clipsim_of), lower_is_better=False, reads=("text",)),
    _distance("fvd", "FVD", "video", FRECHET, of_images=False),
    Metric("is", "IS", "video", INCEPTION, lower_is_better=False, reads=("classes", "splits")),
    _distance("kid", "KID", "image", by_kernel(KID)),
    _distance("kvd", "KVD", "video", by_kernel(KID), of_images=False),
    _distance("cmmd", "CMMD", "image_text", by_kernel(CMMD), FID_GENERATED),
    _distance("jedi", "JEDi", "video", by_kernel(JEDI), of_images=False),
    _distance("fid_infinity", "FID∞", "image", FRECHET_INFINITY),
    _distance("fvd_infinity", "FVD∞", "video", FRECHET_INFINITY, of_images=False),
    Metric(
        "temporal_flicker", "flicker", "pixels", OfVideo(flicker_of), lower_is_better=True, of_images=False
    ),
    Metric(
        "frame_consistency",
        "frame consistency",
        "image_text",
        OfVideo(consistency_of),
        lower_is_better=False,
        of_images=False,
    ),
)
"""The paper's five, in the order of its Table 1, then those beyond it. A table shows them in this order."""

BY_KEY = {metric.key: metric for metric in METRICS}


def metrics_of(images: bool, keys: Collection[str]) -> tuple[Metric, ...]:
    """The chosen metrics that videos have, or images, whose inception score the image network gives."""
    chosen = [metric for metric in METRICS if metric.key in keys]
    if not images:
        return tuple(chosen)
    return tuple(replace(one, network=_of_images(one.network)) for one in chosen if one.of_images)


def _of_images(network: Network) -> Network:
    return "image" if network == "video" else network


def metric_named(key: str) -> Metric:
    """The metric with a catalog key.

    "right:GROUP" are the classifier's attribute accuracies, "vbench:DIMENSION" results that VBench gave.
    """
    if key in BY_KEY:
        return BY_KEY[key]
    if key.startswith(RIGHT):
        wanted = key.removeprefix(RIGHT)
        own = OfVideo(AttributeRight(wanted))
        reads: tuple[Reads, ...] = ("attributes", "classes")
        return Metric(key, f"{wanted} right", "video", own, lower_is_better=False, reads=reads)
    if key.startswith(VBENCH):
        title = f"VBench {key.removeprefix(VBENCH).replace('_', ' ')}"
        return Metric(key, title, "vbench", OfVideo(result_of), lower_is_better=False)
    raise KeyError(f"no metric {key!r}")


def attribute_metrics(
    groups: Sequence[LabelGroup], attributes: Sequence[Mapping[str, str]], images: bool = False
) -> list[Metric]:
    """Accuracies that can be measured: one per label group that every prompt gives a known value for.

    With two groups or more, "all right" (every attribute of the prompt found) comes last.
    """
    measurable = [
        group.name
        for group in groups
        if attributes and all(one.get(group.name) in group.values for one in attributes)
    ]
    keys = [f"{RIGHT}{name}" for name in measurable] + ([ALL_RIGHT] if len(measurable) > 1 else [])
    named = [metric_named(key) for key in keys]
    return [replace(one, network=_of_images(one.network)) for one in named] if images else named
