"""Intervals of set metrics (FID, CLIP-FID, FVD, kernel distances) by leaving out groups of prompts in turn.

Why not a bootstrap: a resample repeats prompts, which lowers a covariance's effective n and biases a Fréchet
distance upward by an unknown amount. Leaving out a small group moves that bias by the same amount each
time, so that it cancels in the spread; each replicate is the metric itself on fewer prompts.

Source: Efron & Stein 1981; Shao & Tu 1995, section 2.3 (the grouped jackknife). With G groups the standard
error is known to about 1/√(2(G − 1)): 7 % for 100 groups, and the interval is Student's with G − 1 degrees of
freedom. The standard error is on average no smaller than the true one of the metric on that many
prompts; it says nothing of the metric's own bias at that n, which only FID∞ addresses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError
from onaspr_core.evaluation.statistics import Interval

GROUPS = 100


@dataclass(frozen=True)
class Jackknifed:
    """An estimate with its interval, standard error, and the p-value of "it is zero" (for differences)."""

    interval: Interval
    standard_error: float
    p_value: float


def prompt_groups(prompts: int, groups: int = GROUPS, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """A seeded partition of prompts into groups that differ by at most one: the group of each prompt.

    Shape (prompts,), numbers 0 … min(groups, prompts) − 1. Index it with the owner of each feature row to get
    the groups of rows, and use one partition for both sides of a difference: that is what pairs them.
    Raises UserError for fewer than two prompts or groups.
    """
    count = min(groups, prompts)
    if count < 2:
        raise UserError(f"A jackknife needs 2 prompts and 2 groups, not {prompts} and {groups}.")
    return np.random.default_rng(seed).permutation(np.arange(prompts, dtype=np.int64) % count)


def jackknife(estimate: float, replicates: npt.ArrayLike, *, level: float = 0.95) -> Jackknifed:
    """Interval of an estimate from its values without each group, (groups,).

    For a difference give the difference of the estimates, and of the replicates of both sides.
    Raises UserError for fewer than two replicates, values not finite, or a level outside (0, 1).
    """
    values = np.asarray(replicates, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or not math.isfinite(estimate):
        raise UserError(f"A jackknife needs at least 2 finite replicates in a row, not {values.shape}.")
    if not 0.0 < level < 1.0:
        raise UserError(f"A confidence level lies between 0 and 1, not {level}.")
    groups = len(values)
    error = math.sqrt((groups - 1) / groups * float(np.square(values - values.mean()).sum()))
    margin = student_quantile((1.0 + level) / 2.0, groups - 1) * error
    ratio = abs(estimate) / error if error else (math.inf if estimate else 0.0)
    return Jackknifed(
        Interval(estimate, estimate - margin, estimate + margin),
        error,
        2.0 * (1.0 - student_probability(ratio, groups - 1)),
    )


def student_probability(t: float, degrees: int) -> float:
    """P(T ≤ t) of Student's distribution with a whole number of degrees of freedom ≥ 1.

    The closed forms of Abramowitz & Stegun 26.7.3 and 26.7.4, exact for whole degrees.
    """
    if math.isinf(t):
        return float(t > 0)
    angle = math.atan2(t, math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, cosine) if odd else (1.0, 1.0)
    for k in range(2 + odd, degrees - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    if not odd:
        return 0.5 + sine * total / 2.0
    return 0.5 + (angle + sine * total * (degrees > 1)) / math.pi


def student_quantile(probability: float, degrees: int) -> float:
    """The t with P(T ≤ t) = `probability`, which lies in [0.5, 1), by halving to 1e-12 of its size."""
    low, high = 0.0, 1.0
    while student_probability(high, degrees) < probability:
        low, high = high, 2.0 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if student_probability(middle, degrees) < probability else (low, middle)
    return high
