"""Kernel distances between two sets of features: KID and KVD, CMMD, and JEDi's.

All are squared maximum mean discrepancies (Gretton et al. 2012): the mean of k(a, a′) and that of k(b, b′),
less twice that of k(a, b). They need no Gaussian and, where unbiased, no correction for few samples.
Float64; kernels are summed in blocks, so memory grows with the samples and not with their square.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError

Array = npt.NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]

SUBSETS = 100
SUBSET_SIZE = 1000
CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0
JEDI_SCALE = 100.0
_ROWS = 1024


def kernel_distance(
    features_a: npt.ArrayLike,
    features_b: npt.ArrayLike,
    *,
    owners_a: npt.ArrayLike | None = None,
    owners_b: npt.ArrayLike | None = None,
) -> float:
    """KID of Inception features, KVD of video features: the unbiased estimate over all samples.

    Kernel (x·y/d + 1)³ of Bińkowski et al. 2018, section 4, as in clean-fid's and torch-fidelity's; arguments
    are (n, d) and (m, d), at least two rows each. Not multiplied; it may be negative. `owners` (n,) names the
    video of each row: pairs of one video are left out as a row with itself is, without which frames of one
    video bias it upward. Raises UserError for shapes that do not fit, one video alone, or values not finite.
    """
    a, b = _pair(features_a, features_b)
    own = _mean_of_distinct(a, owners_a) + _mean_of_distinct(b, owners_b)
    return own - 2.0 * _sum_between(a, b, _cubic) / (len(a) * len(b))


def kernel_distance_over_subsets(
    features_a: npt.ArrayLike,
    features_b: npt.ArrayLike,
    *,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
    seed: int = 0,
) -> tuple[float, float]:
    """The same over seeded subsets of rows: mean and standard deviation (ddof = 0) over subsets.

    The form that KID is published in: torch-fidelity's 100 subsets of 1,000. Subsets overlap: the deviation
    is theirs and not the error of the mean. Raises UserError where a side has fewer rows than `size`.
    """
    a, b = _pair(features_a, features_b)
    if subsets < 1 or not 2 <= size <= min(len(a), len(b)):
        raise UserError(
            f"{subsets} subset(s) of {size} cannot be drawn from {len(a)} and {len(b)} samples; "
            "use smaller subsets, or the estimate over all samples."
        )
    generator = np.random.default_rng(seed)
    values = np.empty(subsets)
    for i in range(subsets):
        own_a, own_b = (x[generator.choice(len(x), size, replace=False)] for x in (a, b))
        values[i] = kernel_distance(own_a, own_b)
    return float(values.mean()), float(values.std())


def cmmd(embeddings_a: npt.ArrayLike, embeddings_b: npt.ArrayLike) -> float:
    """CMMD: 1,000 times the squared discrepancy of unit CLIP embeddings under exp(−|x − y|²/(2·10²)).

    The estimate with the diagonal kept, which the authors chose, ≥ 0. Rows are brought to unit length
    here. Source: Jayasumana et al. 2024, and google-research `cmmd/distance.py` (_SIGMA = 10, _SCALE = 1000),
    whose embeddings are of ViT-L/14 at 336 pixels: with another model, numbers do not compare.
    Raises UserError like `kernel_distance`, and for a zero embedding.
    """
    a, b = _pair(embeddings_a, embeddings_b)
    return CMMD_SCALE * max(0.0, _biased(_unit(a), _unit(b), _gaussian))


def jedi_distance(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """JEDi's distance on any video features: 100 times the squared discrepancy under (x·y/d)².

    The estimate with the diagonal kept, ≥ 0; it equals 100·|AᵀA/n − BᵀB/m|²/d² in Frobenius' norm. Source:
    Luo et al. 2024 (arXiv 2410.05203), and their `videojedi` (`mmd_poly` with degree 2, coef0 0, gamma 1/d,
    times 100), whose features are V-JEPA's; with others, numbers do not compare.
    Raises UserError like `kernel_distance`.
    """
    a, b = _pair(features_a, features_b)
    return JEDI_SCALE * max(0.0, _biased(a, b, _square))


def _cubic(x: Array, y: Array) -> Array:
    k: Array = x @ y.T / x.shape[1] + 1.0
    return k * k * k


def _square(x: Array, y: Array) -> Array:
    return np.asarray(np.square(x @ y.T / x.shape[1]), dtype=np.float64)


def _gaussian(x: Array, y: Array) -> Array:
    """exp(−|x − y|²/(2σ²)) of unit rows, for which |x − y|² is 2 − 2x·y."""
    return np.asarray(np.exp((x @ y.T - 1.0) / CMMD_SIGMA**2), dtype=np.float64)


def _biased(a: Array, b: Array, kernel: Kernel) -> float:
    between = _sum_between(a, b, kernel) / (len(a) * len(b))
    return _sum_within(a, kernel) / len(a) ** 2 + _sum_within(b, kernel) / len(b) ** 2 - 2.0 * between


def _sum_between(a: Array, b: Array, kernel: Kernel) -> float:
    return sum(float(kernel(a[start : start + _ROWS], b).sum()) for start in range(0, len(a), _ROWS))


def _sum_within(x: Array, kernel: Kernel, owners: npt.NDArray[np.int64] | None = None) -> float:
    """Sum of k(x_i, x_j) over all i, j, or over those of different owners; each pair is computed once."""
    total = 0.0
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        k = kernel(rows, x[start:])
        if owners is not None:
            k[owners[start : start + _ROWS, None] == owners[None, start:]] = 0.0
        total += float(k[:, : len(rows)].sum()) + 2.0 * float(k[:, len(rows) :].sum())
    return total


def _mean_of_distinct(x: Array, owners: npt.ArrayLike | None) -> float:
    """Mean of the cubic kernel over ordered pairs of rows of different owners; by default each is its own."""
    labels = np.arange(len(x)) if owners is None else np.unique(np.asarray(owners), return_inverse=True)[1]
    if labels.shape != (len(x),):
        raise UserError(f"{len(x)} samples have owners of shape {labels.shape}; give one owner per sample.")
    pairs = len(x) ** 2 - int(np.square(np.bincount(labels)).sum())
    if pairs == 0:
        raise UserError("All samples are of one video; a kernel distance needs at least 2.")
    return _sum_within(x, _cubic, labels) / pairs


def _pair(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(features_a, dtype=np.float64), np.asarray(features_b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or a.shape[1] == 0 or min(len(a), len(b)) < 2:
        raise UserError(
            f"Features {a.shape} and {b.shape} have no kernel distance; give (samples, dimensions) of one "
            "extractor, at least 2 samples a side."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError("Features hold NaN or infinity; look for the video that gave it.")
    return a, b


def _unit(x: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if (lengths == 0.0).any():
        raise UserError("An embedding is zero and has no direction; look for the video that gave it.")
    return np.asarray(x / lengths, dtype=np.float64)
