"""Win rates, sample sizes and corrections against hand-worked and exact values."""

import numpy as np
import pytest
from scipy.stats import nct  # type: ignore[import-untyped]
from scipy.stats import t as student

from onaspr_core.errors import UserError
from onaspr_core.evaluation.comparisons import (
    Comparison,
    by_prompt,
    holm,
    prompts_needed,
    supported,
    win_rate,
)
from onaspr_core.evaluation.statistics import Interval


def test_holm_is_the_hand_worked_step_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == pytest.approx((1.0, 1.0))
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


def test_under_no_effect_a_family_errs_no_more_often_than_it_says() -> None:
    p = np.random.default_rng(0).uniform(size=(2000, 8))
    assert np.mean([min(holm(row)) <= 0.05 for row in p.tolist()]) <= 0.065
    assert (p.min(axis=1) <= 0.05).mean() > 0.3


def test_a_family_marks_what_survives_correction_and_its_own_interval() -> None:
    above, across = Interval(1.0, 0.2, 1.8), Interval(1.0, -0.1, 2.1)
    assert supported([Comparison(above, 0.03)]) == (True,)
    assert supported([Comparison(above, 0.03), Comparison(above, 0.04)]) == (False, False)
    family = [Comparison(above, 0.001), Comparison(across, 0.001), Comparison(above, None)]
    assert supported(family) == (True, False, False)
    assert supported([Comparison(above, 0.03), Comparison(above, None)]) == (True, False)
    below = Interval(-1.0, -1.8, -0.2)
    assert supported([Comparison(below, 0.07)], level=0.9) == (True,)


def test_a_tie_is_half_a_win_and_the_direction_turns_it() -> None:
    assert win_rate([1.0, 0.0, -1.0, 2.0]).estimate == 0.625
    assert win_rate([1.0, 0.0, -1.0, 2.0], lower_is_better=True).estimate == 0.375


def test_the_interval_is_wilsons() -> None:
    # The textbook case of 10 of 10: the lower bound is n / (n + z²).
    found = win_rate(np.ones(10))
    assert (found.low, found.high) == pytest.approx((10 / (10 + 1.959964**2), 1.0))
    # 81 of 263, as in Newcombe 1998, table I.
    found = win_rate(np.r_[np.ones(81), -np.ones(182)])
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def power_of_t(n: int, effect: float) -> float:
    limit, shift = student.ppf(0.975, n - 1), effect * np.sqrt(n)
    return float(nct.sf(limit, n - 1, shift) + nct.cdf(-limit, n - 1, shift))


@pytest.mark.parametrize("effect", [0.1, 0.25, 0.5, 0.8, 1.2])
def test_that_many_prompts_give_a_t_test_its_power(effect: float) -> None:
    needed = prompts_needed(-0.02 * effect, 0.02)
    assert needed is not None
    exact = next(n for n in range(2, 10_000) if power_of_t(n, effect) >= 0.8)
    assert abs(needed - exact) <= 1


def test_no_difference_needs_no_number_and_no_spread_needs_two() -> None:
    assert prompts_needed(0.0, 1.0) is None
    assert prompts_needed(1.0, 0.0) == 2


def test_nonsense_is_refused() -> None:
    for values in ([], [[1.0]], [np.nan]):
        with pytest.raises(UserError):
            win_rate(values)
    with pytest.raises(UserError):
        win_rate([1.0], level=0.0)
    with pytest.raises(UserError):
        holm([0.5, 1.5])
    with pytest.raises(UserError):
        holm([float("nan")])
    for difference, deviation in ((1.0, -1.0), (np.inf, 1.0), (1.0, np.nan)):
        with pytest.raises(UserError):
            prompts_needed(difference, deviation)
    with pytest.raises(UserError):
        prompts_needed(1.0, 1.0, power=1.0)


def test_both_numbers_by_prompt_are_those_of_the_differences() -> None:
    d = np.array([0.3, -0.1, 0.2, 0.0])
    found = by_prompt(d, lower_is_better=True)
    assert found.wins == win_rate(d, lower_is_better=True)
    assert found.wins.estimate == (1 + 0.5) / 4
    assert found.prompts_needed == prompts_needed(float(d.mean()), float(d.std(ddof=1)))
    with pytest.raises(UserError, match="at least 2"):
        by_prompt([1.0])


def test_an_effect_that_no_one_can_count_to_needs_no_number_of_prompts() -> None:
    assert prompts_needed(1e-17, 1.0) is None
    assert prompts_needed(1e-4 * 1.001, 1.0) == pytest.approx(7.85e8, rel=0.01)
    assert prompts_needed(1e-300, 0.0) == 2
