"""From cached features to one score with its interval: the arithmetic of a score item.

Pure given a function that reads features by key. Which items there are and where results are kept is the
concern of `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.evaluation.arithmetic import (
    Array,
    Bootstrap,
    OfSet,
    OfVideo,
    Rows,
    Scored,
    Shown,
    Sides,
    Tensors,
)
from onaspr_core.evaluation.extractors import LabelGroup
from onaspr_core.evaluation.jackknife import jackknife, prompt_groups
from onaspr_core.evaluation.metrics import Metric
from onaspr_core.evaluation.statistics import (
    Interval,
    interval_from_draws,
    paired_bootstrap,
    resample_counts,
    sign_flip_test,
)
from onaspr_core.stored_kinds import SCORE

SET_RESAMPLES = 400
"""Resamples of a set metric: each is a distance of its own, where a mean's is one product."""

FEWEST_JACKKNIFED = 3
"""Prompts below which a set is not measured again with some of them left out."""


@dataclass(frozen=True)
class Side:
    """One variant's videos under one network: prompt ids and the keys of their features, in step.

    What VBench found stands in the place of a key, as `repr` writes the number.
    """

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
            SCORE,
            version=code_versions.SCORES,
            metric=self.metric.key,
            own=list(zip(self.own.prompts, self.own.keys, strict=True)),
            baseline=list(zip(self.baseline.prompts, self.baseline.keys, strict=True))
            if self.baseline
            else None,
            real=list(self.real),
            texts=dict(self.texts),
            attributes={key: dict(value) for key, value in self.attributes.items()},
            frames=self.metric.frames.name if self.metric.frames else None,
            splits=self.splits if "splits" in self.metric.reads else None,
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
    caution: str = ""


class Scorer:
    """Measures items one after another: reads each feature once, measures and resamples each side once."""

    def __init__(self, read: Callable[[Sequence[str]], Iterable[Tensors]]) -> None:
        """`read` gives the arrays of feature keys, in their order."""
        self._read_from_store = read
        self._tensors: dict[str, Tensors] = {}
        self._real: dict[tuple[object, tuple[str, ...]], Rows] = {}
        self._scored: dict[tuple[str, Side], Scored] = {}
        self._draws: dict[tuple[str, Side], Array | None] = {}

    def measure(self, item: ScoreItem) -> Measured:
        """Score one item. Raises UserError where there are too few videos for the metric."""
        if not item.own.prompts:
            raise UserError("no video of this variant could be scored; see what its asset reports as failed")
        arithmetic = item.metric.arithmetic
        if isinstance(arithmetic, OfVideo):
            return self._per_prompt(item, arithmetic)
        return self._set(item, arithmetic)

    def _per_prompt(self, item: ScoreItem, arithmetic: OfVideo) -> Measured:
        own = self._values(item, item.own, arithmetic)
        value = float(np.mean(list(own.values())))
        shared = _shared(item)
        if item.baseline is None or len(shared) < 2:
            return Measured(value, len(own), per_prompt=own)
        base = self._values(item, item.baseline.only(shared), arithmetic)
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

    def _values(self, item: ScoreItem, side: Side, arithmetic: OfVideo) -> dict[str, float]:
        if item.metric.network == "vbench":
            found = zip(side.prompts, side.keys, strict=True)
            return {prompt: arithmetic.value(Shown({}, result=float(key))) for prompt, key in found}
        texts: list[Tensors] | list[None] = [None] * len(side.prompts)
        if "text" in item.metric.reads:
            texts = self._read([item.texts[prompt] for prompt in side.prompts])
        values = {}
        for prompt, tensors, text in zip(side.prompts, self._read(side.keys), texts, strict=True):
            shown = Shown(tensors, text, item.attributes.get(prompt, {}), item.groups)
            values[prompt] = arithmetic.value(shown)
        return values

    def _set(self, item: ScoreItem, arithmetic: OfSet) -> Measured:
        scored, sides = self._set_score(item, arithmetic, item.own), self._sides(item, arithmetic, item.own)
        alone = Measured(
            scored.value,
            len(sides.own.values),
            len(sides.real_rows.values) if sides.real_rows else 0,
            spread=scored.spread,
            caution=scored.caution,
        )
        shared = _shared(item)
        if item.baseline is None or len(shared) < 2:
            return alone
        own, base = item.own.only(shared), item.baseline.only(shared)
        difference = (
            self._set_score(item, arithmetic, own).value - self._set_score(item, arithmetic, base).value
        )
        compared = replace(alone, difference=difference, n_paired=len(shared))
        if arithmetic.interval is None:
            return replace(compared, interval="none: ± is the standard error of the fit")
        if not isinstance(arithmetic.interval, Bootstrap) and len(shared) < FEWEST_JACKKNIFED:
            return replace(compared, interval=f"none: fewer than {FEWEST_JACKKNIFED} prompts")
        own_draws, base_draws = self._drawn(item, arithmetic, own), self._drawn(item, arithmetic, base)
        if own_draws is None or base_draws is None:
            return replace(compared, interval="none: too costly")
        found, told = _interval(arithmetic, difference, own_draws - base_draws)
        return replace(compared, low=found.low, high=found.high, interval=told)

    def _sides(self, item: ScoreItem, arithmetic: OfSet, side: Side) -> Sides:
        own = arithmetic.rows(self._read(side.keys), item.metric.frames)
        place = (arithmetic.rows, item.real)
        if item.real and place not in self._real:
            self._real[place] = arithmetic.rows(self._read(item.real), None)
        return Sides(own, self._real.get(place), item.splits, item.seed)

    def _set_score(self, item: ScoreItem, arithmetic: OfSet, side: Side) -> Scored:
        key = (item.metric.key, side)
        if key not in self._scored:
            self._scored[key] = arithmetic.score(self._sides(item, arithmetic, side))
        return self._scored[key]

    def _drawn(self, item: ScoreItem, arithmetic: OfSet, side: Side) -> Array | None:
        """The metric of each resample of a side's prompts, or without each group of them; None: costly."""
        key = (item.metric.key, side)
        if key not in self._draws:
            sides, prompts = self._sides(item, arithmetic, side), len(side.prompts)
            if isinstance(arithmetic.interval, Bootstrap):
                counts = resample_counts(prompts, min(item.samples, SET_RESAMPLES), item.seed)
                self._draws[key] = arithmetic.interval.draws(sides, counts)
            elif arithmetic.interval is not None:
                groups = prompt_groups(prompts, seed=item.seed)
                self._draws[key] = arithmetic.interval.without(sides, groups[sides.own.owners])
        return self._draws[key]

    def _read(self, keys: Sequence[str]) -> list[Tensors]:
        unread = [key for key in dict.fromkeys(keys) if key not in self._tensors]
        self._tensors.update(zip(unread, self._read_from_store(unread), strict=True))
        return [self._tensors[key] for key in keys]


def _interval(arithmetic: OfSet, difference: float, draws: Array) -> tuple[Interval, str]:
    """The interval of a set metric's difference from that of both sides' draws, and how it was made."""
    if isinstance(arithmetic.interval, Bootstrap):
        found = interval_from_draws(difference, draws)
        return found, f"set metric, bootstrap over prompts, {len(draws)} resamples"
    told = f"set metric, {len(draws)} groups of prompts left out in turn"
    return jackknife(difference, draws).interval, told


def _shared(item: ScoreItem) -> list[str]:
    """Prompts that both this variant and the baseline have, in the variant's order."""
    other = set(item.baseline.prompts) if item.baseline else set()
    return [prompt for prompt in item.own.prompts if prompt in other]
