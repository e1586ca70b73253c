"""The metrics by name, and how each turns features into numbers.

Belongs here: what a metric is called, which network it reads, which way is better, and its arithmetic
on features that are already there. Items, keys and the catalog are the concern of `scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from onaspr_core.evaluation.clipsim import clipsim
from onaspr_core.evaluation.extractors import LabelGroup
from onaspr_core.evaluation.frame_sampling import FID_GENERATED
from onaspr_core.evaluation.inception_score import inception_score, joint_probabilities

Array = npt.NDArray[np.float64]
Tensors = Mapping[str, npt.NDArray[np.float32]]
Network = Literal["image", "image_text", "video", "classes"]

RIGHT = "right:"
ALL_RIGHT = "right:all"


@dataclass(frozen=True)
class Metric:
    """A metric: `key` in the catalog, `title` for people, the network it reads, and its direction."""

    key: str
    title: str
    network: Network
    lower_is_better: bool
    per_prompt: bool
    needs_real: bool

    @property
    def arrow(self) -> str:
        """↓ where lower is better, ↑ where higher is."""
        return "↓" if self.lower_is_better else "↑"

    @property
    def is_accuracy(self) -> bool:
        """Whether it is one of the classifier's attribute accuracies, shown in percent."""
        return self.key.startswith(RIGHT)

    @property
    def reads_classes(self) -> bool:
        """Whether it is computed from class probabilities, not from features."""
        return self.key == "is" or self.is_accuracy


METRICS = (
    Metric("fid", "FID", "image", lower_is_better=True, per_prompt=False, needs_real=True),
    Metric("clip_fid", "CLIP-FID", "image_text", lower_is_better=True, per_prompt=False, needs_real=True),
    Metric("clipsim", "CLIPSIM", "image_text", lower_is_better=False, per_prompt=True, needs_real=False),
    Metric("fvd", "FVD", "video", lower_is_better=True, per_prompt=False, needs_real=True),
    Metric("is", "IS", "video", lower_is_better=False, per_prompt=False, needs_real=False),
)
"""The paper's five, in the order of its Table 1."""


def metrics_of(images: bool) -> tuple[Metric, ...]:
    """The metrics of videos, or of images: without FVD, and with the image network's inception score."""
    if not images:
        return METRICS
    return tuple(replace(one, network=_of_images(one.network)) for one in METRICS if one.key != "fvd")


def _of_images(network: Network) -> Network:
    return "image" if network == "video" else network


def metric_named(key: str) -> Metric:
    """The metric with a catalog key; "right:GROUP" are the classifier's attribute accuracies."""
    for metric in METRICS:
        if metric.key == key:
            return metric
    if key.startswith(RIGHT):
        title = f"{key.removeprefix(RIGHT)} right"
        return Metric(key, title, "video", lower_is_better=False, per_prompt=True, needs_real=False)
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


def clipsim_of(video: Tensors, text: Tensors) -> float:
    """CLIPSIM of one video from its frames' and its prompt's embeddings."""
    return clipsim(video["features"], text["features"])


def attribute_right(
    metric: Metric, video: Tensors, attributes: Mapping[str, str], groups: Sequence[LabelGroup]
) -> float:
    """1 where the classifier's likeliest value is the prompt's, else 0."""
    wanted = metric.key.removeprefix(RIGHT)
    chosen = [
        group
        for group in groups
        if group.name in attributes and (metric.key == ALL_RIGHT or group.name == wanted)
    ]
    right = [
        group.values[int(video[f"probabilities/{group.name}"].argmax())] == attributes[group.name]
        for group in chosen
    ]
    return float(all(right))


def rows_of(
    metric: Metric, videos: Sequence[Tensors], generated: bool
) -> tuple[Array, npt.NDArray[np.int64]]:
    """What a set metric reads, (rows, d), and which video each row belongs to.

    FVD has one row a video, IS the joint class probabilities; FID has five frames, and CLIP-FID the same
    five of all the generated frames that CLIPSIM has embedded. An image has one row.
    """
    if metric.key == "is":
        names = sorted(name for name in videos[0] if name.startswith("probabilities/"))
        rows = joint_probabilities(
            [np.concatenate([np.atleast_2d(video[name]) for video in videos]) for name in names]
        )
        return rows, np.arange(len(videos))
    own = [np.atleast_2d(video["features"]) for video in videos]
    if metric.key == "clip_fid" and generated:
        own = [rows[list(FID_GENERATED.indices(len(rows)))] if len(rows) > 1 else rows for rows in own]
    owners = np.repeat(np.arange(len(own)), [len(rows) for rows in own])
    return np.concatenate(own).astype(np.float64), owners


def shuffled_inception_score(
    probabilities: Array, counts: npt.NDArray[np.int64] | None, splits: int, seed: int
) -> tuple[float, float]:
    """Inception score of rows in a seeded order, each repeated as often as `counts` says.

    Prompt files are often sorted by class, and splits of consecutive rows would then each see a few
    classes only; the order is therefore drawn once from the evaluation's seed. `counts` None takes each
    row once. Result and errors are those of `inception_score`.
    """
    rows = (
        np.arange(len(probabilities)) if counts is None else np.repeat(np.arange(len(probabilities)), counts)
    )
    order = np.random.default_rng(seed).permutation(len(rows))
    return inception_score(probabilities[rows[order]], splits)
