"""Eq 8's floor and the switch between the two prompts."""

import math
from decimal import Decimal

import numpy as np
import pytest

from onaspr_core.diffusion.semantics import rewritten_step_count, uses_rewritten_prompt
from onaspr_core.errors import UserError


@pytest.mark.parametrize(
    ("steps", "gamma", "expected"),
    [
        (50, 0.58, 29),
        (50, 0.1, 5),
        (50, 0.04, 2),
        (50, 0.4, 20),
        (50, 0.019, 0),
        (30, 0.7, 21),
        (20, 0.35, 7),
    ],
)
def test_the_floor_is_of_the_decimal_product(steps: int, gamma: float, expected: int) -> None:
    assert rewritten_step_count(steps, gamma) == expected
    assert rewritten_step_count(steps, Decimal(str(gamma))) == expected
    assert rewritten_step_count(steps, np.float64(gamma)) == expected


def test_every_hundredth_of_every_step_count_is_floored_exactly() -> None:
    for steps in range(101):
        for hundredths in range(101):
            assert rewritten_step_count(steps, hundredths / 100) == steps * hundredths // 100


def test_the_ends_are_no_step_and_every_step() -> None:
    for steps in (1, 20, 50, 999):
        assert rewritten_step_count(steps, 0) == rewritten_step_count(steps, 1e-9) == 0
        assert rewritten_step_count(steps, 1) == rewritten_step_count(steps, 1.0) == steps
        assert rewritten_step_count(steps, math.nextafter(1.0, 0.0)) == steps - 1


@pytest.mark.parametrize("gamma", [-0.1, 1.5, math.nan, math.inf])
def test_a_gamma_outside_its_range_is_refused(gamma: float) -> None:
    with pytest.raises(UserError, match="gamma"):
        rewritten_step_count(50, gamma)


def test_the_first_steps_use_the_rewritten_prompt_and_the_rest_the_original() -> None:
    def rewritten_levels(m: int) -> list[int]:
        return [level for level in range(5, 0, -1) if uses_rewritten_prompt(level, 5, m)]

    assert [rewritten_levels(m) for m in range(6)] == [
        [],
        [5],
        [5, 4],
        [5, 4, 3],
        [5, 4, 3, 2],
        [5, 4, 3, 2, 1],
    ]
