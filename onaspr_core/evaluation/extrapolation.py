"""FID∞ and FVD∞: the Fréchet distance that unlimited generated videos would have.

A Fréchet distance is biased upward by about c/n, with a c that depends on the generator, so that two numbers
at unequal n do not compare. Chong & Forsyth 2020 ("Effectively Unbiased FID") measure it on subsets of
several sizes, fit a line over 1/n, and read it at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError
from onaspr_core.evaluation.frechet import ReferenceGaussian

POINTS = 15


@dataclass(frozen=True)
class Extrapolation:
    """The line's value at 1/n = 0 with the standard error of the fit, and what it was fitted to.

    `sizes` are videos per subset, `distances` their Fréchet distances. The error is that of the fit alone:
    all subsets are of the same videos, whose own sampling error a jackknife of the plain distance shows.
    `trusted` says whether the smallest subset has at least twice as many rows as dimensions: below, the
    distance bends away from the line and the estimate comes out too low.
    """

    estimate: float
    standard_error: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]
    trusted: bool


def frechet_infinity(
    reference: ReferenceGaussian,
    features: npt.ArrayLike,
    owners: npt.ArrayLike,
    *,
    points: int = POINTS,
    smallest: int | None = None,
    seed: int = 0,
) -> Extrapolation:
    """Extrapolate over seeded subsets of the generated videos against a fixed real side.

    `features` (n, d) have `owners` (n,), the video of each row; a subset takes whole videos. `points` sizes
    are evenly spaced from `smallest` videos to all of them, as in the authors' code, which begins at a tenth
    of 50,000. Here it begins at half unless set: a tenth of 2,990 videos has fewer rows than Inception has
    dimensions (in a trial with as many rows per dimension, a true 0.190 came out as 0.134 from a tenth,
    0.183 from a quarter, 0.190 from half). The real side's own bias stays.
    Raises UserError for fewer than 3 points, or too few videos for that many sizes.
    """
    videos, owner = np.unique(np.asarray(owners), return_inverse=True)
    projected = reference.project(features)
    total = len(videos)
    first = max(2, total // 2) if smallest is None else smallest
    if owner.shape != (len(projected.centred),):
        raise UserError(
            f"{len(projected.centred)} samples have owners of shape {owner.shape}; give one each."
        )
    if points < 3 or first < 2 or total - first < points - 1:
        raise UserError(
            f"{total} video(s) cannot be cut into {points} subset sizes from {first} on; "
            "generate more videos or use fewer points (at least 3)."
        )
    generator = np.random.default_rng(seed)
    sizes = np.linspace(first, total, points).astype(np.int64)
    distances = np.empty(points)
    for i, size in enumerate(sizes):
        chosen = np.zeros(total, dtype=np.int64)
        chosen[generator.permutation(total)[:size]] = 1
        distances[i] = reference.distance(projected, chosen[owner])
    estimate, error = _intercept(1.0 / sizes, distances)
    rows = int(sizes[0]) * len(owner) / total
    return Extrapolation(
        estimate,
        error,
        tuple(sizes.tolist()),
        tuple(distances.tolist()),
        trusted=rows >= 2 * projected.centred.shape[1],
    )


def _intercept(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Intercept of the least-squares line and its standard error, from n − 2 degrees of freedom."""
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    intercept = float(y.mean()) - slope * float(x.mean())
    residuals = y - intercept - slope * x
    variance = float(residuals @ residuals) / (len(x) - 2)
    return intercept, float(np.sqrt(variance * (1.0 / len(x) + float(x.mean()) ** 2 / spread)))
