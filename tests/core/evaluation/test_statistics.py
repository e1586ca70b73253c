"""Paired statistics: coverage on synthetic data, exact small cases, seeds."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.statistics import (
    interval_from_draws,
    paired_bootstrap,
    resample_counts,
    sign_flip_test,
)


def test_every_resample_has_as_many_prompts_as_there_are_and_the_seed_decides() -> None:
    counts = resample_counts(7, 50, seed=3)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert (counts == resample_counts(7, 50, seed=3)).all()
    assert (counts != resample_counts(7, 50, seed=4)).any()
    assert counts.mean() == pytest.approx(1.0)


def test_a_resample_occurs_as_often_as_chance_says() -> None:
    # each prompt is left out of a resample of n with probability (1 - 1/n)^n
    left_out = (resample_counts(10, 4000, seed=0) == 0).mean()
    assert left_out == pytest.approx(0.9**10, abs=0.01)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        found = paired_bootstrap(rng.exponential(size=60) - 0.7, samples=400, seed=trial)
        covered += found.low <= 0.3 <= found.high
    assert 0.89 <= covered / 300 <= 0.98


def test_the_interval_of_a_mean_is_about_the_normal_one() -> None:
    d = np.random.default_rng(1).normal(0.5, 2.0, size=400)
    found = paired_bootstrap(d, samples=4000, seed=0)
    margin = 1.96 * d.std(ddof=1) / 20
    assert found.estimate == pytest.approx(d.mean())
    assert (found.low, found.high) == pytest.approx((d.mean() - margin, d.mean() + margin), abs=0.02)


def test_no_difference_has_an_interval_of_no_width() -> None:
    found = paired_bootstrap(np.zeros(5), samples=100, seed=0)
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_sign_flip_test_is_exact_for_few_prompts() -> None:
    d = [0.3, -0.1, 0.4, 0.2]
    sums = [abs(sum(s * v for s, v in zip(signs, d, strict=True))) for signs in product((1, -1), repeat=4)]
    expected = np.mean([value >= abs(sum(d)) - 1e-12 for value in sums])
    assert sign_flip_test(d) == pytest.approx(expected)


def test_the_sampled_sign_flip_test_agrees_with_the_exact_one_and_is_never_zero() -> None:
    d = np.random.default_rng(2).normal(0.3, 1.0, size=12)
    assert sign_flip_test(d, samples=4000, seed=1) == pytest.approx(sign_flip_test(d, samples=5000), abs=0.03)
    assert sign_flip_test(np.ones(40), samples=99) == 0.01


def test_under_no_effect_p_values_are_uniform() -> None:
    rng = np.random.default_rng(3)
    p = [sign_flip_test(rng.normal(size=20), samples=199, seed=i) for i in range(300)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.05)


def test_percentiles_of_draws_are_those_of_the_draws() -> None:
    found = interval_from_draws(5.0, np.arange(101.0), level=0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx((5.0, 5.0, 95.0))


@pytest.mark.parametrize("differences", [[1.0], [], [[1.0, 2.0]], [1.0, np.nan]])
def test_what_cannot_be_compared_is_refused(differences: npt.ArrayLike) -> None:
    with pytest.raises(UserError):
        paired_bootstrap(differences)
    with pytest.raises(UserError):
        sign_flip_test(differences)
