"""What differences are worth: win rates, how many prompts would show one, and correction for several.

A table that compares several settings or metrics with a baseline makes one comparison per cell. All cells
that a reader may pick the best of are one family: build its `Comparison`s together and mark those
that `supported` names. A table of one comparison is a family of one, for which nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError
from onaspr_core.evaluation.statistics import Interval

SMALLEST_EFFECT = 1e-4
"""A difference of this many standard deviations is taken for none when prompts are counted."""


@dataclass(frozen=True)
class Comparison:
    """One difference of a family: its uncorrected interval and its two-sided p-value, None where it has none.

    p-values of `sign_flip_test` are no smaller than 1 / (samples + 1): correction of a family of m needs
    samples ≥ m / (1 − level).
    """

    interval: Interval
    p_value: float | None


def supported(family: Sequence[Comparison], *, level: float = 0.95) -> tuple[bool, ...]:
    """Which differences a table may mark, in order: all errors of the family together stay below 1 − level.

    A difference is supported when its own interval leaves out zero and its p-value, corrected by Holm over
    the family, is at most 1 − level. One without a p-value is never supported and counts for none.
    """
    tested = [one.p_value for one in family if one.p_value is not None]
    corrected = iter(holm(tested))
    return tuple(
        one.p_value is not None
        and next(corrected) <= 1.0 - level + 1e-12
        and (one.interval.low > 0.0 or one.interval.high < 0.0)
        for one in family
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's 1979 corrected p-values, in the order given; each is to be compared with α itself.

    The smallest of m is multiplied by m, the next by m − 1, and so on; none is below one before it in
    that order, nor above 1. Raises UserError for a value outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise UserError("A p-value lies between 0 and 1; one of those to be corrected does not.")
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(corrected.tolist())


def win_rate(differences: npt.ArrayLike, *, lower_is_better: bool = False, level: float = 0.95) -> Interval:
    """Share of prompts where the variant is better, ties counted half, with Wilson's interval.

    `differences` (n,) are variant less baseline per prompt. With ties the interval is somewhat too wide: half
    points vary less than wins and losses do. Raises UserError for no prompts, values not finite, or a
    level outside (0, 1).
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or len(d) == 0 or not np.isfinite(d).all():
        raise UserError(f"A win rate needs a finite difference per prompt, not an array of shape {d.shape}.")
    if not 0.0 < level < 1.0:
        raise UserError(f"A confidence level lies between 0 and 1, not {level}.")
    signs = -np.sign(d) if lower_is_better else np.sign(d)
    rate, n = float((signs.mean() + 1.0) / 2.0), len(d)
    squared = NormalDist().inv_cdf((1.0 + level) / 2.0) ** 2
    centre = (rate + squared / (2 * n)) / (1.0 + squared / n)
    margin = math.sqrt(squared * (rate * (1.0 - rate) / n + squared / (4 * n * n))) / (1.0 + squared / n)
    return Interval(rate, min(rate, centre - margin), max(rate, centre + margin))


@dataclass(frozen=True)
class ByPrompt:
    """How often a variant is better, and how many prompts it takes to see its difference."""

    wins: Interval
    prompts_needed: int | None


def by_prompt(differences: npt.ArrayLike, *, lower_is_better: bool = False) -> ByPrompt:
    """Win rate and prompts needed of per-prompt differences (n,), n ≥ 2, with their own deviation.

    Raises UserError like `win_rate`, and for one prompt, which has no deviation.
    """
    d = np.asarray(differences, dtype=np.float64)
    wins = win_rate(d, lower_is_better=lower_is_better)
    if len(d) < 2:
        raise UserError("One prompt has no deviation; a comparison needs at least 2.")
    return ByPrompt(wins, prompts_needed(float(d.mean()), float(d.std(ddof=1))))


def prompts_needed(
    difference: float, deviation: float, *, power: float = 0.8, alpha: float = 0.05
) -> int | None:
    """How many prompts a two-sided paired test at `alpha` needs to see a difference of this size.

    `deviation` is the standard deviation (ddof = 1) of per-prompt differences; for a set metric give its
    jackknifed standard error times √prompts. ((z + z_power)·deviation/difference)² + z²/2 with z the quantile
    of 1 − α/2, rounded up (Guenther 1981): within one of the t-test's exact number. At least 2; None for no
    difference, which no number shows, and for one below a ten-thousandth of the deviation (785
    million prompts). Raises UserError for a negative or non-finite argument.
    """
    if not (math.isfinite(difference) and math.isfinite(deviation)) or deviation < 0.0:
        raise UserError(f"No number of prompts follows from {difference} with deviation {deviation}.")
    if not (0.0 < alpha < 1.0 and 0.0 < power < 1.0):
        raise UserError(f"Power and α lie between 0 and 1, not {power} and {alpha}.")
    if abs(difference) <= SMALLEST_EFFECT * deviation or difference == 0.0:
        return None
    z = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    wanted = z + NormalDist().inv_cdf(power)
    return max(2, math.ceil((wanted * deviation / difference) ** 2 + z * z / 2.0))
