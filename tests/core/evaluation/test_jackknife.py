"""The grouped jackknife against closed forms, scipy's Student, and Monte Carlo."""

import numpy as np
import pytest
from scipy.stats import t as student  # type: ignore[import-untyped]

from onaspr_core.errors import UserError
from onaspr_core.evaluation.frechet import ReferenceGaussian, frechet_distance
from onaspr_core.evaluation.jackknife import (
    jackknife,
    prompt_groups,
    student_probability,
    student_quantile,
)


def test_groups_part_all_prompts_evenly_and_the_seed_decides() -> None:
    groups = prompt_groups(2990, 100, seed=5)
    sizes = np.bincount(groups)
    assert groups.shape == (2990,) and len(sizes) == 100
    assert set(sizes.tolist()) == {29, 30}
    assert (groups == prompt_groups(2990, 100, seed=5)).all()
    assert (groups != prompt_groups(2990, 100, seed=6)).any()
    assert sorted(prompt_groups(7, 100).tolist()) == list(range(7))


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 10, 99, 100])
def test_student_is_scipys(degrees: int) -> None:
    for value in (-3.0, 0.0, 0.7, 2.5, 40.0):
        assert student_probability(value, degrees) == pytest.approx(student.cdf(value, degrees), rel=1e-10)
    for probability in (0.5, 0.9, 0.975, 0.9995):
        expected = student.ppf(probability, degrees)
        assert student_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_of_a_mean_it_is_the_textbook_interval_and_t_test() -> None:
    x = np.random.default_rng(0).normal(0.3, 2.0, size=40)
    without = np.array([np.delete(x, i).mean() for i in range(40)])
    found = jackknife(float(x.mean()), without)
    error = x.std(ddof=1) / np.sqrt(40)
    assert found.standard_error == pytest.approx(error, rel=1e-12)
    margin = student.ppf(0.975, 39) * error
    assert (found.interval.low, found.interval.high) == pytest.approx((x.mean() - margin, x.mean() + margin))
    assert found.p_value == pytest.approx(2 * student.sf(abs(x.mean() / error), 39), rel=1e-9)


def test_no_spread_decides_for_a_difference_and_against_none() -> None:
    assert jackknife(1.0, [1.0, 1.0, 1.0]).p_value == 0.0
    same = jackknife(0.0, [0.0, 0.0])
    assert (same.p_value, same.interval.low, same.interval.high) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(("rows", "width", "reference_rows"), [(60, 8, 90), (24, 30, 90), (60, 20, 9)])
def test_each_replicate_is_the_distance_of_the_rows_that_are_left(
    rows: int, width: int, reference_rows: int
) -> None:
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(width, width))
    x, real = rng.normal(size=(rows, width)) @ mix + 3.0, rng.normal(size=(reference_rows, width)) @ mix
    groups = prompt_groups(rows // 3, 5, seed=2)[np.repeat(np.arange(rows // 3), 3)]
    reference = ReferenceGaussian(real)
    found = reference.distances_without(reference.project(x), groups)
    expected = [frechet_distance(x[groups != group], real) for group in range(5)]
    assert found == pytest.approx(expected, rel=1e-6)


def spread_and_error(videos: int, width: int, trials: int) -> tuple[float, float]:
    """The true spread of a difference of two distances over trials, and the mean jackknifed error."""
    rng = np.random.default_rng(3)
    scale = np.arange(1, width + 1) ** -0.5
    reference = ReferenceGaussian(rng.normal(size=(50 * width, width)) * scale)
    groups = prompt_groups(videos, 20)
    differences, errors = [], []
    for _ in range(trials):
        common = rng.normal(size=(videos, width))
        sides = [
            (0.8 * common + 0.6 * rng.normal(size=common.shape)) * scale * factor for factor in (1.2, 1.3)
        ]
        projected = [reference.project(side) for side in sides]
        ones = np.ones(videos)
        values = [reference.distance(one, ones) for one in projected]
        without = [reference.distances_without(one, groups) for one in projected]
        differences.append(values[1] - values[0])
        errors.append(jackknife(differences[-1], without[1] - without[0]).standard_error)
    return float(np.std(differences)), float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize(("videos", "width"), [(200, 8), (120, 40), (40, 60)])
def test_the_error_of_a_paired_difference_is_its_true_spread(videos: int, width: int) -> None:
    true, found = spread_and_error(videos, width, trials=150)
    assert 0.85 * true <= found <= 1.5 * true


def test_what_cannot_be_jackknifed_is_refused() -> None:
    reference = ReferenceGaussian(np.random.default_rng(0).normal(size=(9, 3)))
    projected = reference.project(np.random.default_rng(1).normal(size=(3, 3)))
    for groups in ([0, 0, 0], [0, 1, 1], [0, 1], [0, 2, 3], [-1, 0, 1]):
        with pytest.raises(UserError):
            reference.distances_without(projected, groups)
    for prompts, count in ((1, 10), (10, 1)):
        with pytest.raises(UserError):
            prompt_groups(prompts, count)
    with pytest.raises(UserError):
        jackknife(1.0, [1.0])
    with pytest.raises(UserError):
        jackknife(1.0, [1.0, np.nan])
    with pytest.raises(UserError):
        jackknife(1.0, [1.0, 2.0], level=1.0)
