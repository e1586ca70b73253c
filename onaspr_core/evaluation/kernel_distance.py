"""Kernel distances between two sets of features: KID and KVD, CMMD, and JEDi's.

All are squared maximum mean discrepancies (Gretton et al. 2012): the mean of k(a, a′) and that of k(b, b′),
less twice that of k(a, b). They need no Gaussian and, where unbiased, no correction for few samples.
Float64; kernels are summed in blocks, so memory grows with the samples and not with their square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError

Array = npt.NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]
Owners = npt.NDArray[np.int64]

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
    return KID.of(features_a, features_b, owners_a=owners_a, owners_b=owners_b)


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
    return CMMD.of(embeddings_a, embeddings_b)


def jedi_distance(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """JEDi's distance on any video features: 100 times the squared discrepancy under (x·y/d)².

    The estimate with the diagonal kept, ≥ 0; it equals 100·|AᵀA/n − BᵀB/m|²/d² in Frobenius' norm. Source:
    Luo et al. 2024 (arXiv 2410.05203), and their `videojedi` (`mmd_poly` with degree 2, coef0 0, gamma 1/d,
    times 100), whose features are V-JEPA's; with others, numbers do not compare.
    Raises UserError like `kernel_distance`.
    """
    return JEDI.of(features_a, features_b)


@dataclass(frozen=True)
class Discrepancy:
    """A squared maximum mean discrepancy: its kernel, its scale, and which estimate is taken.

    `unbiased` leaves out a row's pairs with itself and with rows of the same owner, and may be negative; the
    other estimate keeps all pairs, whoever owns them, and is ≥ 0. `unit` brings rows to unit length first.
    """

    kernel: Kernel
    scale: float = 1.0
    unbiased: bool = True
    unit: bool = False

    def of(
        self,
        features_a: npt.ArrayLike,
        features_b: npt.ArrayLike,
        *,
        owners_a: npt.ArrayLike | None = None,
        owners_b: npt.ArrayLike | None = None,
    ) -> float:
        """The distance of (n, d) and (m, d); owners and errors are those of `kernel_distance`."""
        a, b = self._prepared(features_a, features_b)
        own = self._mean_within(a, owners_a) + self._mean_within(b, owners_b)
        return self._scaled(own - 2.0 * _sum_between(a, b, self.kernel) / (len(a) * len(b)))

    def without(
        self,
        features_a: npt.ArrayLike,
        features_b: npt.ArrayLike,
        groups: npt.ArrayLike,
        *,
        owners_a: npt.ArrayLike | None = None,
        owners_b: npt.ArrayLike | None = None,
    ) -> Array:
        """The distance with each group of the first side's rows left out in turn: what a jackknife reads.

        `groups` (n,) numbers the group of each row from 0, all rows of one owner in one; the result is
        (groups,). Each is exact, from sums of each row that are taken once. Raises UserError like `of`, and
        where the rest without a group is of one owner.
        """
        a, b = self._prepared(features_a, features_b)
        labels = np.asarray(groups, dtype=np.int64)
        owners = self._owners(a, owners_a)
        within, between = _row_sums(a, a, self.kernel, owners), _row_sums(a, b, self.kernel)
        real = self._mean_within(b, owners_b)
        found = np.empty(int(labels.max()) + 1)
        for group in range(len(found)):
            out, left = labels == group, labels != group
            inside = _sum_within(a[out], self.kernel, None if owners is None else owners[out])
            total = float(within.sum()) - 2.0 * float(within[out].sum()) + inside
            own = total / _pairs(int(left.sum()), None if owners is None else owners[left])
            found[group] = own + real - 2.0 * float(between[left].mean()) / len(b)
        return np.array([self._scaled(one) for one in found])

    def _prepared(self, features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> tuple[Array, Array]:
        a, b = _pair(features_a, features_b)
        return (_unit(a), _unit(b)) if self.unit else (a, b)

    def _scaled(self, value: float) -> float:
        return self.scale * (value if self.unbiased else max(0.0, value))

    def _owners(self, x: Array, owners: npt.ArrayLike | None) -> Owners | None:
        """Whose each row is, from 0, where that counts; by default each row is its own."""
        if not self.unbiased:
            return None
        labels = (
            np.arange(len(x)) if owners is None else np.unique(np.asarray(owners), return_inverse=True)[1]
        )
        if labels.shape != (len(x),):
            raise UserError(
                f"{len(x)} samples have owners of shape {labels.shape}; give one owner per sample."
            )
        return labels

    def _mean_within(self, x: Array, owners: npt.ArrayLike | None) -> float:
        labels = self._owners(x, owners)
        return _sum_within(x, self.kernel, labels) / _pairs(len(x), labels)


def _cubic(x: Array, y: Array) -> Array:
    k: Array = x @ y.T / x.shape[1] + 1.0
    return k * k * k


def _square(x: Array, y: Array) -> Array:
    return np.asarray(np.square(x @ y.T / x.shape[1]), dtype=np.float64)


def _gaussian(x: Array, y: Array) -> Array:
    """exp(−|x − y|²/(2σ²)) of unit rows, for which |x − y|² is 2 − 2x·y."""
    return np.asarray(np.exp((x @ y.T - 1.0) / CMMD_SIGMA**2), dtype=np.float64)


def _sum_between(a: Array, b: Array, kernel: Kernel) -> float:
    return sum(float(kernel(a[start : start + _ROWS], b).sum()) for start in range(0, len(a), _ROWS))


def _sum_within(x: Array, kernel: Kernel, owners: Owners | None = None) -> float:
    """Sum of k(x_i, x_j) over all i, j, or over those of different owners; each pair is computed once."""
    total = 0.0
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        k = kernel(rows, x[start:])
        if owners is not None:
            k[owners[start : start + _ROWS, None] == owners[None, start:]] = 0.0
        total += float(k[:, : len(rows)].sum()) + 2.0 * float(k[:, len(rows) :].sum())
    return total


def _row_sums(a: Array, b: Array, kernel: Kernel, owners: Owners | None = None) -> Array:
    """Sum over j of k(a_i, b_j) for each i; with the owners of both, over those of another owner."""
    sums = np.empty(len(a))
    for start in range(0, len(a), _ROWS):
        k = kernel(a[start : start + _ROWS], b)
        if owners is not None:
            k[owners[start : start + _ROWS, None] == owners[None, :]] = 0.0
        sums[start : start + _ROWS] = k.sum(axis=1)
    return sums


def _pairs(rows: int, owners: Owners | None) -> int:
    """How many ordered pairs of rows count: all, or those of different owners."""
    if owners is None:
        return rows**2
    pairs = rows**2 - int(np.square(np.bincount(owners)).sum())
    if pairs == 0:
        raise UserError("All samples are of one video; a kernel distance needs at least 2.")
    return pairs


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


KID = Discrepancy(_cubic)
"""Of Inception features; KVD is the same of video features."""

CMMD = Discrepancy(_gaussian, CMMD_SCALE, unbiased=False, unit=True)
JEDI = Discrepancy(_square, JEDI_SCALE, unbiased=False)
