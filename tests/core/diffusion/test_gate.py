"""The similarity gate, value by value."""

import math

import pytest

from onaspr_core.diffusion.gate import gated_eta


@pytest.mark.parametrize(
    ("similarity", "left"), [(-1, 0), (0.4, 0), (0.45, 0.1), (0.5, 0.2), (0.6, 0.4), (0.61, 0.4), (1, 0.4)]
)
def test_the_gate_opens_linearly_between_its_bounds(similarity: float, left: float) -> None:
    assert gated_eta(0.4, (0.4, 0.6), similarity) == pytest.approx(left, abs=1e-12)


def test_outside_of_the_slope_eta_is_exact() -> None:
    assert gated_eta(0.2, (0.3, 0.7), 0.7) == 0.2
    assert gated_eta(0.2, (0.3, 0.7), 0.3) == 0.0
    assert gated_eta(0.2, None, -1.0) == 0.2


def test_equal_bounds_are_a_step() -> None:
    assert gated_eta(0.2, (0.5, 0.5), 0.5) == 0.2
    assert gated_eta(0.2, (0.5, 0.5), 0.499) == 0.0


def test_an_infinite_eta_is_none_or_whole() -> None:
    assert gated_eta(math.inf, (0.4, 0.6), 0.4) == 0.0
    assert gated_eta(math.inf, (0.4, 0.6), 0.5) == math.inf


def test_digits_that_no_version_counts_change_nothing() -> None:
    assert gated_eta(0.4, (0.4, 0.6), 0.5 + 1e-8) == gated_eta(0.4, (0.4, 0.6), 0.5)
