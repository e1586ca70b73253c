"""How metrics turn features into numbers: the forms that a metric's arithmetic has, and the functions.

Belongs here: arithmetic on features that are already there. Which metric uses which function is the table in
`metrics`; reading features, pairing prompts and keeping results are the concern of `scoring`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onaspr_core.evaluation.clipsim import clipsim
from onaspr_core.evaluation.extractors import LabelGroup
from onaspr_core.evaluation.extrapolation import frechet_infinity
from onaspr_core.evaluation.frame_sampling import FrameRule
from onaspr_core.evaluation.frechet import ReferenceGaussian, frechet_distance
from onaspr_core.evaluation.inception_score import inception_score, joint_probabilities
from onaspr_core.evaluation.kernel_distance import Discrepancy
from onaspr_core.evaluation.temporal import frame_consistency

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Tensors = Mapping[str, npt.NDArray[np.float32]]

ALL = "all"
"""In the place of a label group: every attribute of the prompt."""

LARGEST_KERNEL = 1e13
"""Multiplications that all kernels of a jackknife may cost before its interval is left out."""


@dataclass(frozen=True)
class Shown:
    """One video's features, and what they are held against, as far as the metric reads it.

    `result` is what another program found the video to be.
    """

    video: Tensors
    text: Tensors | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    groups: Sequence[LabelGroup] = ()
    result: float = math.nan


@dataclass(frozen=True)
class Rows:
    """What a set metric reads of one side: `values` (rows, d), and `owners` (rows,), the video of each."""

    values: Array
    owners: Indices

    @cached_property
    def gaussian(self) -> ReferenceGaussian:
        """The rows as the fixed side of many Fréchet distances, prepared once."""
        return ReferenceGaussian(self.values)


@dataclass(frozen=True)
class Sides:
    """A variant's rows, the real ones (None for a metric without), and what settings decide."""

    own: Rows
    real_rows: Rows | None
    splits: int
    seed: int

    @property
    def real(self) -> Rows:
        """The real side of a metric that needs one."""
        if self.real_rows is None:
            raise ValueError("this metric has no real side")
        return self.real_rows


class Scored(NamedTuple):
    """A set metric's value; `spread` stands behind ±, `caution` says why not to trust the value."""

    value: float
    spread: float | None = None
    caution: str = ""


@dataclass(frozen=True)
class OfVideo:
    """A metric that is a mean over videos: `value` of one."""

    value: Callable[[Shown], float]


@dataclass(frozen=True)
class Bootstrap:
    """`draws` of the metric by how often each prompt is counted, (samples, prompts)."""

    draws: Callable[[Sides, Indices], Array]


@dataclass(frozen=True)
class Jackknife:
    """The metric `without` each group of rows in turn, (groups,), or None where that costs too much."""

    without: Callable[[Sides, Indices], Array | None]


@dataclass(frozen=True)
class OfSet:
    """A metric of all videos together: what its rows are, its value, and what its interval is made from.

    `rows` takes each video's features and which frames of them are meant (None: all that are kept).
    """

    rows: Callable[[Sequence[Tensors], FrameRule | None], Rows]
    score: Callable[[Sides], Scored]
    interval: Bootstrap | Jackknife | None


def feature_rows(videos: Sequence[Tensors], rule: FrameRule | None) -> Rows:
    """One row per kept frame, or of several frames the rule's; one row of a video network or an image."""
    own = [np.atleast_2d(video["features"]) for video in videos]
    if rule is not None:
        own = [rows[list(rule.indices(len(rows)))] if len(rows) > 1 else rows for rows in own]
    owners = np.repeat(np.arange(len(own)), [len(rows) for rows in own])
    return Rows(np.concatenate(own).astype(np.float64), owners)


def class_rows(videos: Sequence[Tensors], rule: FrameRule | None) -> Rows:
    """The joint class probabilities of each video."""
    names = sorted(name for name in videos[0] if name.startswith("probabilities/"))
    joined = [np.concatenate([np.atleast_2d(video[name]) for video in videos]) for name in names]
    return Rows(joint_probabilities(joined), np.arange(len(videos)))


def clipsim_of(shown: Shown) -> float:
    """CLIPSIM of one video from its frames' and its prompt's embeddings."""
    if shown.text is None:
        raise ValueError("CLIPSIM reads the prompt's embedding")
    return clipsim(shown.video["features"], shown.text["features"])


def flicker_of(shown: Shown) -> float:
    """Mean absolute difference of consecutive frames, from those that are kept (`pixels`)."""
    return float(shown.video["steps"].mean(dtype=np.float64))


def consistency_of(shown: Shown) -> float:
    """Mean cosine of consecutive frames' embeddings."""
    return frame_consistency(shown.video["features"])


def result_of(shown: Shown) -> float:
    """A result that was read and not computed."""
    return shown.result


@dataclass(frozen=True)
class AttributeRight:
    """1 where the classifier's likeliest value of a label group, or of `ALL`, is the prompt's; else 0."""

    wanted: str

    def __call__(self, shown: Shown) -> float:
        """Look at one video."""
        right = [
            group.values[int(shown.video[f"probabilities/{group.name}"].argmax())]
            == shown.attributes[group.name]
            for group in shown.groups
            if group.name in shown.attributes and self.wanted in (ALL, group.name)
        ]
        return float(all(right))


def frechet(sides: Sides) -> Scored:
    """The Fréchet distance of all rows."""
    return Scored(frechet_distance(sides.own.values, sides.real.values))


def frechet_less_groups(sides: Sides, groups: Indices) -> Array:
    """The Fréchet distance without each group of rows; no covariance is built anew."""
    reference = sides.real.gaussian
    return reference.distances_without(reference.project(sides.own.values), groups)


def frechet_without_limit(sides: Sides) -> Scored:
    """The Fréchet distance that unlimited videos would have; ± is the standard error of the fit."""
    found = frechet_infinity(sides.real.gaussian, sides.own.values, sides.own.owners, seed=sides.seed)
    caution = "" if found.trusted else "fewer than two samples per dimension; the estimate comes out too low"
    return Scored(found.estimate, found.standard_error, caution)


def inception(sides: Sides) -> Scored:
    """The inception score; ± is its deviation over splits."""
    value, spread = shuffled_inception_score(sides.own.values, None, sides.splits, sides.seed)
    return Scored(value, spread if sides.splits > 1 else None)


def inception_draws(sides: Sides, counts: Indices) -> Array:
    """The inception score of each resample of prompts."""
    rows = sides.own.values
    return np.array([shuffled_inception_score(rows, own, sides.splits, sides.seed)[0] for own in counts])


def shuffled_inception_score(
    probabilities: Array, counts: Indices | None, splits: int, seed: int
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


def by_kernel(discrepancy: Discrepancy) -> OfSet:
    """The arithmetic of a kernel distance; frames of one video are not compared with one another."""

    def score(sides: Sides) -> Scored:
        own, real = sides.own, sides.real
        return Scored(discrepancy.of(own.values, real.values, owners_a=own.owners, owners_b=real.owners))

    def without(sides: Sides, groups: Indices) -> Array | None:
        own, real = sides.own, sides.real
        rows, d = own.values.shape
        if rows * (2 * rows + len(real.values)) * d + len(real.values) ** 2 * d > LARGEST_KERNEL:
            return None
        return discrepancy.without(own.values, real.values, groups, owners_a=own.owners, owners_b=real.owners)

    return OfSet(feature_rows, score, Jackknife(without))


FRECHET = OfSet(feature_rows, frechet, Jackknife(frechet_less_groups))
FRECHET_INFINITY = OfSet(feature_rows, frechet_without_limit, None)
INCEPTION = OfSet(class_rows, inception, Bootstrap(inception_draws))
