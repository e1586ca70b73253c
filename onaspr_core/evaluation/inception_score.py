"""The inception score of class probabilities; where they come from is the extractors' concern."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError


def inception_score(probabilities: npt.ArrayLike, splits: int = 10) -> tuple[float, float]:
    """exp(mean KL(p(y|x) ‖ p(y))) per split: mean and standard deviation (ddof = 0) over splits.

    `probabilities` is (n, classes), rows sum to 1 (tolerance 1e-3, then normalised); the n rows are
    cut into `splits` consecutive parts as Salimans et al. 2016's `inception_score` does, so rows in
    class order must be shuffled first. The score lies between 1 and the number of classes.
    Raises UserError for fewer rows than splits and for rows that are no distribution.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] == 0:
        raise UserError(f"Class probabilities have shape {p.shape}; they must be (samples, classes).")
    if splits < 1 or len(p) < splits:
        raise UserError(
            f"{len(p)} sample(s) cannot be cut into {splits} splits; "
            "lower evaluation.inception_splits or score more videos."
        )
    if not np.isfinite(p).all() or (p < 0).any() or (np.abs(p.sum(axis=1) - 1.0) > 1e-3).any():
        raise UserError("Class probabilities must be non-negative and sum to 1 in every row.")
    p = p / p.sum(axis=1, keepdims=True)
    bounds = [i * len(p) // splits for i in range(splits + 1)]
    scores = [_score(p[low:high]) for low, high in itertools.pairwise(bounds)]
    return float(np.mean(scores)), float(np.std(scores))


def joint_probabilities(groups: Sequence[npt.ArrayLike]) -> npt.NDArray[np.float64]:
    """The joint distribution of independent label groups: their outer product, per row.

    `groups` are (n, classes of that group); the result is (n, product of the classes), the last
    group varying fastest.
    """
    joint = np.asarray(groups[0], dtype=np.float64)
    for group in groups[1:]:
        joint = (joint[:, :, None] * np.asarray(group, dtype=np.float64)[:, None, :]).reshape(len(joint), -1)
    return joint


def _score(p: npt.NDArray[np.float64]) -> float:
    marginal = p.mean(axis=0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.exp((p * np.log(ratio)).sum(axis=1).mean()))
