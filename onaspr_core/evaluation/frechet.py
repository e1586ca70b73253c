"""The Fréchet distance between two Gaussians, in float64: FID, CLIP-FID and FVD are this.

No files, no networks, no frames: features in, a scalar out. Covariances are unbiased (ddof = 1),
as in clean-fid, whose numbers these agree with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError

Array = npt.NDArray[np.float64]


def frechet_distance(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """|μa − μb|² + Tr(Σa + Σb − 2√(ΣaΣb)) of two sets of features.

    Arguments are (n, d) with the same d and at least two rows each; the result is ≥ 0.
    Where either side has fewer rows than columns, Tr√(ΣaΣb) is the nuclear norm of Xa·Xbᵀ, which
    is exact there and needs no root of a d × d matrix. Raises UserError for one row, unequal widths, or
    values that are not finite. Source: Heusel et al. 2017, equation 6; clean-fid `fid.py`.
    """
    a, b = _features(features_a, "first"), _features(features_b, "second")
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"Features of width {a.shape[1]} and {b.shape[1]} cannot be compared; "
            "use the same feature extractor for both sides."
        )
    if min(len(a), len(b)) >= a.shape[1]:
        return frechet_distance_from_moments(*moments(a), *moments(b))
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    centred_a, centred_b = a - mean_a, b - mean_b
    few, many = sorted((centred_a, centred_b), key=len)
    cross = _nuclear_norm(few, many) / float(np.sqrt((len(a) - 1.0) * (len(b) - 1.0)))
    spread = sum(float(np.vdot(x, x)) / (len(x) - 1.0) for x in (few, many))
    return max(0.0, float(np.square(mean_a - mean_b).sum()) + spread - 2.0 * cross)


def frechet_distance_from_moments(
    mu_a: npt.ArrayLike, sigma_a: npt.ArrayLike, mu_b: npt.ArrayLike, sigma_b: npt.ArrayLike
) -> float:
    """The same distance from means (d,) and symmetric positive semi-definite covariances (d, d).

    The eigenvalues of ΣaΣb are those of the symmetric √Σa·Σb·√Σa, so `eigvalsh` finds them without
    a matrix square root. Raises UserError for shapes that do not fit and values not finite.
    """
    mean_a, mean_b = np.atleast_1d(_finite(mu_a, "first mean")), np.atleast_1d(_finite(mu_b, "second mean"))
    cov_a = np.atleast_2d(_finite(sigma_a, "first covariance"))
    cov_b = np.atleast_2d(_finite(sigma_b, "second covariance"))
    d = mean_a.size
    if mean_b.shape != (d,) or mean_a.shape != (d,) or cov_a.shape != (d, d) or cov_b.shape != (d, d):
        raise UserError(
            f"Means {mean_a.shape}, {mean_b.shape} and covariances {cov_a.shape}, {cov_b.shape} do not "
            "belong together; give two means (d,) and two covariances (d, d)."
        )
    root = _covariance_root(cov_a)
    product = root.T @ cov_b @ root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2.0)
    cross = float(np.sqrt(np.clip(eigenvalues, 0.0, None)).sum())
    spread = float(np.trace(cov_a) + np.trace(cov_b))
    return max(0.0, float(np.square(mean_a - mean_b).sum()) + spread - 2.0 * cross)


class ReferenceGaussian:
    """One fixed side of many distances: a bootstrap measures thousands of resamples against it.

    The root L of its covariance is found once. A resample then costs one weighted Gram matrix of its
    features times L, of the smaller of its two sizes, and no covariance of its own.
    """

    def __init__(self, features: npt.ArrayLike) -> None:
        """Take the fixed side's features (n, d), n ≥ 2."""
        x = _features(features, "reference")
        self.mean: Array = x.mean(axis=0)
        root = _root(x - self.mean)
        self._root = root.T
        self._trace = float(np.square(root).sum())

    def project(self, features: npt.ArrayLike) -> ProjectedFeatures:
        """Prepare the other side's features (n, d) for repeated use with `distance`."""
        x = _features(features, "given")
        centred = x - self.mean
        return ProjectedFeatures(centred, np.square(centred).sum(axis=1), centred @ self._root)

    def distance(self, projected: ProjectedFeatures, weights: npt.ArrayLike) -> float:
        """The Fréchet distance with row i of the other side counted `weights[i]` times."""
        counts = np.asarray(weights, dtype=np.float64)
        total = float(counts.sum())
        if total < 2.0:
            raise UserError(f"A covariance needs at least 2 samples and there are {total:g}.")
        shift = counts @ projected.centred / total
        squares = float(counts @ projected.squares)
        trace = (squares - total * float(shift @ shift)) / (total - 1.0)
        kept = counts > 0
        rows = projected.rooted[kept] - counts @ projected.rooted / total
        rows *= np.sqrt(counts[kept] / (total - 1.0))[:, None]
        gram = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
        return self._from_parts(shift, trace, gram)

    def distances_without(self, projected: ProjectedFeatures, groups: npt.ArrayLike) -> Array:
        """The Fréchet distance with each group of rows left out in turn: what a jackknife reads.

        `groups` (n,) numbers the group of each row from 0; the result is (groups,). Each is exact: a group's
        products are taken from the whole's, so no covariance is built anew. Raises UserError for labels that
        are not one per row, a number without rows, and where fewer than two rows would be left.
        """
        labels, n = np.asarray(groups, dtype=np.int64), len(projected.rooted)
        if labels.shape != (n,) or labels.min() < 0:
            raise UserError(
                f"{n} samples have groups of shape {labels.shape}; give one number ≥ 0 per sample."
            )
        sizes = np.bincount(labels)
        if sizes.min() == 0 or n - sizes.max() < 2:
            raise UserError(
                f"{n} samples in groups of {sizes.min()} to {sizes.max()} cannot be left out in turn; "
                "no group may be empty, and 2 samples must be left without any of them."
            )
        mean = projected.centred.mean(axis=0)
        rooted = projected.rooted - projected.rooted.mean(axis=0)
        wide = n <= rooted.shape[1]
        whole = rooted @ rooted.T if wide else rooted.T @ rooted
        found = np.empty(len(sizes))
        for group, size in enumerate(sizes):
            out, left = labels == group, n - int(size)
            shift = (n * mean - projected.centred[out].sum(axis=0)) / left
            squares = float(projected.squares[~out].sum())
            trace = (squares - left * float(shift @ shift)) / (left - 1.0)
            gram = _kept_rows(whole, ~out) if wide else _less_rows(whole, rooted[out], left)
            found[group] = self._from_parts(shift, trace, gram / (left - 1.0))
        return found

    def _from_parts(self, shift: Array, trace: float, gram: Array) -> float:
        """The distance from a mean less the reference's, a covariance's trace, and the Gram matrix of its
        root times the reference's."""
        cross = float(np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None)).sum())
        return max(0.0, float(shift @ shift) + trace + self._trace - 2.0 * cross)


@dataclass(frozen=True)
class ProjectedFeatures:
    """Features less the reference's mean (n, d), their squared lengths, and their product with its root."""

    centred: Array
    squares: Array
    rooted: Array


def moments(features: npt.ArrayLike) -> tuple[Array, Array]:
    """Mean (d,) and unbiased covariance (d, d) of features (n, d), as `np.cov` gives it."""
    x = _features(features, "given")
    mean = x.mean(axis=0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1.0)


def _features(values: npt.ArrayLike, which: str) -> Array:
    x = _finite(values, f"{which} set of features")
    if x.ndim != 2 or x.shape[1] == 0:
        raise UserError(f"The {which} set of features has shape {x.shape}; it must be (samples, dimensions).")
    if len(x) < 2:
        raise UserError(
            f"The {which} set of features has {len(x)} sample(s); a Fréchet distance needs at least 2. "
            "Generate or provide more videos."
        )
    return x


def _finite(values: npt.ArrayLike, what: str) -> Array:
    x: npt.NDArray[Any] = np.asarray(values)
    if x.dtype.kind not in "fiub":
        raise UserError(f"The {what} must be real numbers, not {x.dtype}.")
    x = x.astype(np.float64, copy=False)
    if not np.isfinite(x).all():
        raise UserError(f"The {what} holds NaN or infinity; look for the video that gave it.")
    return x


def _nuclear_norm(few: Array, many: Array) -> float:
    """Sum of the singular values of few·manyᵀ, of centred rows (n, d) and (m, d) with n ≤ m and n < d.

    Where m > d they are roots of the eigenvalues of its (n, n) Gram matrix, multiplied out in the order that
    takes less work. `few` is turned to its principal axes before, largest first: so ordered, small
    eigenvalues do not drown in the rounding of large ones.
    """
    (n, d), m = few.shape, len(many)
    if m <= d:
        return float(np.linalg.svd(few @ many.T, compute_uv=False).sum())
    axes = np.linalg.eigh(few @ few.T).eigenvectors
    turned = axes.T[::-1] @ few
    if m * n * (2 * d + n) < d * d * (m + 2 * n) + n * n * d:
        product = turned @ many.T
        gram = product @ product.T
    else:
        gram = turned @ (many.T @ many) @ turned.T
    return float(np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None)).sum())


def _root(centred: Array) -> Array:
    """R with RᵀR the unbiased covariance: the rows themselves, or its Cholesky factor where smaller."""
    scaled: Array = centred / np.sqrt(len(centred) - 1.0)
    if len(scaled) <= scaled.shape[1]:
        return scaled
    return _covariance_root(scaled.T @ scaled).T


def _less_rows(whole: Array, rows: Array, left: int) -> Array:
    """XᵀX of the `left` rows that stay, about their own mean, from `whole` = XᵀX of all, centred."""
    total = rows.sum(axis=0)
    return np.asarray(whole - rows.T @ rows - np.outer(total, total) / left, dtype=np.float64)


def _kept_rows(whole: Array, kept: npt.NDArray[np.bool_]) -> Array:
    """XXᵀ of the rows that stay, about their own mean, from `whole` = XXᵀ of all."""
    part: Array = whole[np.ix_(kept, kept)]
    means = part.mean(axis=0)
    return np.asarray(part - means - means[:, None] + means.mean(), dtype=np.float64)


def _covariance_root(covariance: Array) -> Array:
    """L with L·Lᵀ the covariance: Cholesky, and by eigenvectors where the covariance is singular."""
    try:
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh((covariance + covariance.T) / 2.0)
        return np.asarray(vectors * np.sqrt(np.clip(values, 0.0, None)), dtype=np.float64)
