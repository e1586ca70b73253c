"""From cached features to one score with its interval: the arithmetic of a score item.

Pure given a function that reads features by key. Which items there are and where results are kept is the
concern of `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import LabelGroup
from onaspr_core.evaluation.frame_sampling import FID_GENERATED
from onaspr_core.evaluation.frechet import ReferenceGaussian, frechet_distance
from onaspr_core.evaluation.metrics import (
    Array,
    Metric,
    Tensors,
    attribute_right,
    clipsim_of,
    rows_of,
    shuffled_inception_score,
)
from onaspr_core.evaluation.statistics import (
    interval_from_draws,
    paired_bootstrap,
    resample_counts,
    sign_flip_test,
)

KIND = "score"
SET_RESAMPLES = 400
"""Resamples of a set metric: each is a distance of its own, where a mean's is one product."""

LARGEST_RESAMPLE = 1e9
"""Multiplications that one resample of a set metric may cost before its interval is left out."""


@dataclass(frozen=True)
class Side:
    """One variant's videos under one network: prompt ids and the keys of their features, in step."""

    prompts: tuple[str, ...]
    keys: tuple[str, ...]

    def only(self, prompts: Sequence[str]) -> Side:
        """The same for some of its prompts."""
        keys = dict(zip(self.prompts, self.keys, strict=True))
        return Side(tuple(prompts), tuple(keys[one] for one in prompts))


@dataclass(frozen=True)
class ScoreItem:
    """Everything that determines one score; `baseline` is None for the baseline itself.

    `texts` are feature keys of the original prompts, `attributes` what each prompt asks for, both by
    prompt id and empty where the metric does not use them.
    """

    metric: Metric
    variant: str
    own: Side
    baseline: Side | None
    real: tuple[str, ...]
    texts: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, str]]
    groups: tuple[LabelGroup, ...]
    splits: int
    samples: int
    seed: int

    @property
    def name(self) -> str:
        """Variant and metric, for people."""
        return f"{self.variant} {self.metric.title}"

    @property
    def key(self) -> str:
        """Content key: features, settings and arithmetic; not the variant's name."""
        return content_key(
            KIND,
            version=code_versions.SCORES,
            metric=self.metric.key,
            own=list(zip(self.own.prompts, self.own.keys, strict=True)),
            baseline=list(zip(self.baseline.prompts, self.baseline.keys, strict=True))
            if self.baseline
            else None,
            real=list(self.real),
            texts=dict(self.texts),
            attributes={key: dict(value) for key, value in self.attributes.items()},
            frames=FID_GENERATED.name if self.metric.key == "clip_fid" else None,
            splits=self.splits if self.metric.key == "is" else None,
            samples=self.samples,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Measured:
    """What came out; the fields are those of `score_table.Score`, `per_prompt` by prompt id."""

    value: float
    rows: int
    rows_real: int = 0
    spread: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    n_paired: int = 0
    interval: str = ""
    per_prompt: Mapping[str, float] = field(default_factory=dict)


class Scorer:
    """Measures items one after another, reading each feature once and resampling each side once."""

    def __init__(self, read: Callable[[str], Tensors]) -> None:
        """`read` gives the arrays of a feature key."""
        self._read_from_store = read
        self._tensors: dict[str, Tensors] = {}
        self._references: dict[tuple[str, tuple[str, ...]], ReferenceGaussian] = {}
        self._draws: dict[tuple[str, Side], Array | None] = {}

    def measure(self, item: ScoreItem) -> Measured:
        """Score one item. Raises UserError where there are too few videos for the metric."""
        if not item.own.prompts:
            raise UserError("no video of this variant could be scored; see what its asset reports as failed")
        return self._per_prompt(item) if item.metric.per_prompt else self._set(item)

    def _per_prompt(self, item: ScoreItem) -> Measured:
        own = self._values(item, item.own)
        value = float(np.mean(list(own.values())))
        shared = _shared(item)
        if item.baseline is None or len(shared) < 2:
            return Measured(value, len(own), per_prompt=own)
        base = self._values(item, item.baseline.only(shared))
        differences = np.array([own[prompt] - base[prompt] for prompt in shared])
        found = paired_bootstrap(differences, samples=item.samples, seed=item.seed)
        return Measured(
            value,
            len(own),
            difference=found.estimate,
            low=found.low,
            high=found.high,
            p_value=sign_flip_test(differences, seed=item.seed),
            n_paired=len(shared),
            interval=f"paired bootstrap over prompts, {item.samples} resamples",
            per_prompt=own,
        )

    def _values(self, item: ScoreItem, side: Side) -> dict[str, float]:
        values = {}
        for prompt, key in zip(side.prompts, side.keys, strict=True):
            if item.metric.key == "clipsim":
                values[prompt] = clipsim_of(self._read(key), self._read(item.texts[prompt]))
            else:
                attributes = item.attributes[prompt]
                values[prompt] = attribute_right(item.metric, self._read(key), attributes, item.groups)
        return values

    def _set(self, item: ScoreItem) -> Measured:
        value, spread = self._set_value(item, item.own)
        alone = Measured(value, *self._row_counts(item), spread=spread)
        shared = _shared(item)
        if item.baseline is None or len(shared) < 2:
            return alone
        own, base = item.own.only(shared), item.baseline.only(shared)
        difference = self._set_value(item, own)[0] - self._set_value(item, base)[0]
        compared = replace(alone, difference=difference, n_paired=len(shared), interval="none: too costly")
        own_draws, base_draws = self._resampled(item, own), self._resampled(item, base)
        if own_draws is None or base_draws is None:
            return compared
        found = interval_from_draws(difference, own_draws - base_draws)
        told = f"set metric, bootstrap over prompts, {len(own_draws)} resamples"
        return replace(compared, low=found.low, high=found.high, interval=told)

    def _row_counts(self, item: ScoreItem) -> tuple[int, int]:
        """How many feature rows a set metric sees of the generated and of the real side."""
        own = self._rows(item.metric, item.own.keys, generated=True)[0]
        real = self._rows(item.metric, item.real, generated=False)[0] if item.real else ()
        return len(own), len(real)

    def _set_value(self, item: ScoreItem, side: Side) -> tuple[float, float | None]:
        rows, _ = self._rows(item.metric, side.keys, generated=True)
        if item.metric.key == "is":
            value, spread = shuffled_inception_score(rows, None, item.splits, item.seed)
            return value, spread if item.splits > 1 else None
        return frechet_distance(rows, self._rows(item.metric, item.real, generated=False)[0]), None

    def _resampled(self, item: ScoreItem, side: Side) -> Array | None:
        """The metric of each bootstrap resample of a side's prompts, or None where that costs too much."""
        key = (item.metric.key, side)
        if key not in self._draws:
            self._draws[key] = self._resample(item, side)
        return self._draws[key]

    def _resample(self, item: ScoreItem, side: Side) -> Array | None:
        rows, owners = self._rows(item.metric, side.keys, generated=True)
        samples = min(item.samples, SET_RESAMPLES)
        counts = resample_counts(len(side.prompts), samples, item.seed)
        if item.metric.key == "is":
            scores = [shuffled_inception_score(rows, own, item.splits, item.seed)[0] for own in counts]
            return np.array(scores)
        if len(rows) * rows.shape[1] * min(rows.shape) > LARGEST_RESAMPLE:
            return None
        place = (item.metric.key, item.real)
        if place not in self._references:
            reference_rows = self._rows(item.metric, item.real, generated=False)[0]
            self._references[place] = ReferenceGaussian(reference_rows)
        reference = self._references[place]
        projected = reference.project(rows)
        return np.array([reference.distance(projected, own[owners]) for own in counts])

    def _rows(self, metric: Metric, keys: Sequence[str], generated: bool) -> tuple[Array, np.ndarray]:
        return rows_of(metric, [self._read(key) for key in keys], generated)

    def _read(self, key: str) -> Tensors:
        if key not in self._tensors:
            self._tensors[key] = self._read_from_store(key)
        return self._tensors[key]


def _shared(item: ScoreItem) -> list[str]:
    """Prompts that both this variant and the baseline have, in the variant's order."""
    other = set(item.baseline.prompts) if item.baseline else set()
    return [prompt for prompt in item.own.prompts if prompt in other]
