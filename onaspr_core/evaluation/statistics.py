"""Paired statistics over prompts: bootstrap intervals and a sign-flip test, all from a seed.

All variants of a prompt share their noise, so differences are taken per prompt and prompts are what
is resampled. One set of resamples serves every metric of a comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError

_BLOCK = 1 << 22


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its confidence interval, in the metric's own unit."""

    estimate: float
    low: float
    high: float


def resample_counts(prompts: int, samples: int, seed: int) -> npt.NDArray[np.int64]:
    """How often each of `prompts` prompts occurs in each of `samples` bootstrap resamples.

    Shape (samples, prompts); every row sums to `prompts`. The same seed gives the same resamples.
    """
    if prompts < 1 or samples < 1:
        raise UserError(f"A bootstrap needs prompts and resamples, not {prompts} and {samples}.")
    generator = np.random.default_rng(seed)
    counts = np.empty((samples, prompts), dtype=np.int64)
    rows = max(1, _BLOCK // prompts)
    for start in range(0, samples, rows):
        drawn = generator.integers(0, prompts, size=(min(rows, samples - start), prompts))
        drawn += np.arange(len(drawn))[:, None] * prompts
        block = np.bincount(drawn.ravel(), minlength=len(drawn) * prompts)
        counts[start : start + len(drawn)] = block.reshape(len(drawn), prompts)
    return counts


def paired_bootstrap(
    differences: npt.ArrayLike, *, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the mean of per-prompt differences (n,), n ≥ 2.

    Raises UserError for fewer than two differences or values that are not finite.
    """
    d = _differences(differences)
    means = resample_counts(len(d), samples, seed) @ d / len(d)
    return _percentiles(float(d.mean()), means, level)


def interval_from_draws(estimate: float, draws: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Percentile interval of resampled values (samples,), such as differences of FID over prompts.

    Duplicated prompts lower the effective n of a resample and raise both sides' Fréchet distances alike
    (and lower inception scores): that bias largely cancels in a difference of two sides resampled together,
    and only there. What is left of it is unknown, so such an interval shows spread and decides nothing.
    """
    return _percentiles(estimate, np.asarray(draws, dtype=np.float64), level)


def sign_flip_test(differences: npt.ArrayLike, *, samples: int = 9999, seed: int = 0) -> float:
    """Two-sided p-value of "the mean difference is zero" by flipping signs of per-prompt differences.

    Exact over all 2ⁿ flips where these are no more than `samples`, else by seeded draws, counting the
    observed one (never 0). Raises UserError like `paired_bootstrap`.
    """
    d = _differences(differences)
    observed = abs(float(d.sum())) * (1.0 - 1e-12)
    if 2 ** len(d) <= samples:
        signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
        return float((np.abs(signs @ d) >= observed).mean())
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(d))
    hits = 0
    for start in range(0, samples, rows):
        flips = generator.integers(0, 2, size=(min(rows, samples - start), len(d)), dtype=np.int8)
        hits += int((np.abs((1.0 - 2.0 * flips) @ d) >= observed).sum())
    return (hits + 1) / (samples + 1)


def _differences(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    d = np.asarray(values, dtype=np.float64)
    if d.ndim != 1 or len(d) < 2:
        raise UserError(f"A paired comparison needs at least 2 prompts and has shape {d.shape}.")
    if not np.isfinite(d).all():
        raise UserError("A per-prompt difference is NaN or infinite; look for the video that gave it.")
    return d


def _percentiles(estimate: float, drawn: npt.NDArray[np.float64], level: float) -> Interval:
    if not 0.0 < level < 1.0:
        raise UserError(f"A confidence level lies between 0 and 1, not {level}.")
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(estimate, float(low), float(high))
