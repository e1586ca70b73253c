"""FID∞ against a distance that is known, and its line against numpy's."""

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.extrapolation import frechet_infinity
from onaspr_core.evaluation.frechet import ReferenceGaussian, frechet_distance

WIDTH = 16
SCALE = np.arange(1, WIDTH + 1) ** -0.5


def reference() -> ReferenceGaussian:
    """A real side so large that its covariance is the true one to a few parts in a thousand."""
    return ReferenceGaussian(np.random.default_rng(0).normal(size=(100_000, WIDTH)) * SCALE)


def test_it_takes_most_of_the_bias_away() -> None:
    real, rng = reference(), np.random.default_rng(1)
    true = float(np.square(0.3 * SCALE).sum())
    plain, infinite = [], []
    for seed in range(40):
        x = rng.normal(size=(160, WIDTH)) * SCALE * 1.3
        found = frechet_infinity(real, x, np.arange(160), seed=seed)
        infinite.append(found.estimate)
        plain.append(found.distances[-1])
        assert found.trusted
    assert np.mean(plain) - true > 0.05
    assert abs(np.mean(infinite) - true) < 0.2 * (np.mean(plain) - true)


def test_the_line_is_the_least_squares_one_over_whole_videos() -> None:
    rng = np.random.default_rng(2)
    real_rows = rng.normal(size=(50, 4))
    x, owners = rng.normal(size=(60, 4)) + 1, np.repeat(np.arange(20), 3)
    found = frechet_infinity(ReferenceGaussian(real_rows), x, owners, points=6, smallest=8, seed=4)
    assert found.sizes == (8, 10, 12, 15, 17, 20)
    assert found.distances[-1] == pytest.approx(frechet_distance(x, real_rows), rel=1e-9)
    chosen = np.random.default_rng(4).permutation(20)[:8]
    expected = frechet_distance(x[np.isin(owners, chosen)], real_rows)
    assert found.distances[0] == pytest.approx(expected, rel=1e-9)
    line, covariance = np.polyfit(1 / np.array(found.sizes), found.distances, 1, cov=True)
    assert found.estimate == pytest.approx(line[1], rel=1e-9)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-9)


def test_the_seed_decides_and_few_rows_are_not_trusted() -> None:
    real, x = reference(), np.random.default_rng(3).normal(size=(40, WIDTH))
    one = frechet_infinity(real, x, np.arange(40), seed=1)
    assert one == frechet_infinity(real, x, np.arange(40), seed=1)
    assert one.estimate != frechet_infinity(real, x, np.arange(40), seed=2).estimate
    assert not one.trusted


def test_too_few_videos_or_points_are_refused() -> None:
    real, x = reference(), np.ones((20, WIDTH))
    for videos, points in ((20, 15), (20, 2)):
        with pytest.raises(UserError, match="subset sizes"):
            frechet_infinity(real, x[:videos], np.arange(videos), points=points)
    with pytest.raises(UserError, match="owners"):
        frechet_infinity(real, x, np.arange(19))
