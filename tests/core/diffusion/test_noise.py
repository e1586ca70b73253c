"""Random noise, Eq 4 and the diagnostics."""

import math

import pytest
import torch

from onaspr_core.diffusion.noise import (
    SPACE,
    TIME,
    autocorrelation,
    blend_noises,
    diagnostics,
    mix_noise,
    random_noise,
)
from onaspr_core.errors import UserError

SHAPE = (4, 8, 8, 8)
FIRST_VALUES = [1.2534779, 1.8482171, -0.3304279, -0.5723144]


def drawn(seed: int = 0, prompt_id: str = "p1", sample_index: int = 0) -> torch.Tensor:
    return random_noise(SHAPE, seed=seed, prompt_id=prompt_id, sample_index=sample_index)


def test_noise_depends_on_seed_prompt_and_sample_and_on_nothing_else() -> None:
    first = drawn()
    torch.manual_seed(1234)
    torch.randn(100)
    assert torch.equal(first, drawn())
    for other in (drawn(seed=1), drawn(prompt_id="p2"), drawn(sample_index=1)):
        assert float((first - other).abs().max()) > 0.1


def test_noise_stays_the_same_from_version_to_version() -> None:
    """Written down once: a change here would remake every video that anybody has."""
    values = drawn().flatten()[:4].tolist()
    assert values == pytest.approx(FIRST_VALUES, abs=1e-7)


def test_prompt_ids_and_samples_are_not_run_together() -> None:
    assert not torch.equal(drawn(prompt_id="a1", sample_index=0), drawn(prompt_id="a", sample_index=10))
    assert not torch.equal(drawn(prompt_id='a", 1'), drawn(prompt_id="a"))


def test_random_noise_is_standard_gaussian_float32_on_the_cpu() -> None:
    noise = random_noise((4, 64, 32, 32), seed=3, prompt_id="x", sample_index=0)
    assert noise.dtype == torch.float32 and noise.device.type == "cpu"
    found = diagnostics(noise)
    assert found["mean"] == pytest.approx(0, abs=0.01)
    assert found["variance"] == pytest.approx(1, abs=0.02)
    assert found["kurtosis"] == pytest.approx(3, abs=0.05)
    assert found["spatial_autocorrelation"] == pytest.approx(0, abs=0.01)
    assert found["temporal_autocorrelation"] == pytest.approx(0, abs=0.01)


def test_eta_zero_is_random_noise_bit_for_bit_whatever_the_inverted_noise_holds() -> None:
    assert torch.equal(mix_noise(drawn(), torch.full(SHAPE, math.nan), 0.0), drawn())
    assert torch.equal(mix_noise(drawn(), None, 0), drawn())


def test_infinite_eta_is_inverted_noise_bit_for_bit_whatever_the_random_noise_holds() -> None:
    assert torch.equal(mix_noise(torch.full(SHAPE, math.nan), drawn(7), math.inf), drawn(7))
    assert torch.equal(mix_noise(None, drawn(7), math.inf), drawn(7))


@pytest.mark.parametrize("eta", [0.05, 0.2, 0.5, 1.0, 10.0])
def test_mixing_is_equation_four(eta: float) -> None:
    random, inverted = drawn(1).double(), drawn(2).double()
    expected = random / (1 + eta**2) ** 0.5 + eta * inverted / (1 + eta**2) ** 0.5
    assert torch.allclose(mix_noise(random, inverted, eta), expected, atol=1e-14)


def test_three_to_four_mixing_worked_by_hand() -> None:
    mixed = mix_noise(torch.tensor([5.0]), torch.tensor([10.0]), 0.75)
    assert float(mixed) == pytest.approx(5 * 0.8 + 10 * 0.6)


@pytest.mark.parametrize("eta", [1e-300, 1e16, 1e155, 1e300, 1.7e308])
def test_extreme_eta_neither_overflows_nor_loses_its_limit(eta: float) -> None:
    mixed = mix_noise(drawn(1), drawn(2), eta)
    assert torch.equal(mixed, drawn(1) if eta < 1 else mixed) and torch.isfinite(mixed).all()
    assert torch.allclose(mixed, drawn(1) if eta < 1 else drawn(2), atol=1e-6)


def test_mixing_keeps_the_variance() -> None:
    random = random_noise((4, 64, 32, 32), seed=1, prompt_id="a", sample_index=0)
    inverted = random_noise((4, 64, 32, 32), seed=2, prompt_id="a", sample_index=0)
    assert float(mix_noise(random, inverted, 0.5).var()) == pytest.approx(1, abs=0.02)


def test_what_is_returned_is_not_what_was_given() -> None:
    random = drawn()
    mixed = mix_noise(random, drawn(1), 0.0)
    mixed.zero_()
    assert torch.equal(random, drawn())


@pytest.mark.parametrize("eta", [-0.1, -math.inf, math.nan])
def test_negative_and_nan_eta_are_refused(eta: float) -> None:
    with pytest.raises(UserError, match="eta"):
        mix_noise(drawn(), drawn(1), eta)


def test_noises_that_are_missing_or_of_another_shape_are_refused() -> None:
    with pytest.raises(UserError, match="inverted"):
        mix_noise(drawn(), None, 0.5)
    with pytest.raises(UserError, match="shape"):
        mix_noise(drawn(), drawn()[:1], 0.5)


def test_diagnostics_of_a_checkerboard_worked_by_hand() -> None:
    """±1 alternating in space and constant in time: neighbours in space are opposite, in time equal."""
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    board = ((-1.0) ** (rows + columns)).expand(2, 3, 4, 4)
    assert diagnostics(board) == {
        "mean": 0.0,
        "variance": 1.0,
        "kurtosis": 1.0,
        "spatial_autocorrelation": -1.0,
        "temporal_autocorrelation": 1.0,
    }


def test_diagnostics_of_an_image_and_of_a_constant_leave_out_what_has_no_meaning() -> None:
    assert diagnostics(torch.randn(4, 1, 8, 8))["temporal_autocorrelation"] is None
    assert diagnostics(torch.ones(4, 2, 8, 8))["kurtosis"] is None


@pytest.mark.parametrize("count", [2, 3, 5])
def test_blending_independent_noises_keeps_the_variance(count: int) -> None:
    noises = [random_noise((4, 16, 32, 32), seed=5, prompt_id=str(i), sample_index=0) for i in range(count)]
    blended = blend_noises(noises)
    assert float(blended.var()) == pytest.approx(1, abs=0.02)
    assert torch.allclose(blended * math.sqrt(count), sum(noises, torch.zeros(())), rtol=0.02)


def square(noise: torch.Tensor) -> float:
    return float(noise.double().square().mean())


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("alike", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_the_mean_square_of_a_blend_is_the_mean_of_its_parts_however_alike_they_are(
    count: int, alike: float, offset: float
) -> None:
    shared = drawn(9) + offset
    noises = [
        (i + 1) * (alike * shared + math.sqrt(1 - alike**2) * drawn(i, prompt_id="x")) for i in range(count)
    ]
    blended = blend_noises(noises)
    assert square(blended) == pytest.approx(sum(map(square, noises)) / count, rel=1e-5)
    along = sum(noises, torch.zeros(())).flatten()
    assert float(torch.cosine_similarity(blended.flatten(), along, dim=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_noises_blend_to_themselves_with_their_mean(count: int) -> None:
    assert torch.allclose(blend_noises([drawn() + 2] * count), drawn() + 2, atol=1e-5)


def test_noises_that_cancel_out_are_no_noise() -> None:
    with pytest.raises(UserError, match=r"cancel each other out; set inversion\.neighbours = 1"):
        blend_noises([drawn(), -drawn()])


def test_a_single_noise_is_its_own_blend_and_other_shapes_are_refused() -> None:
    assert torch.equal(blend_noises([drawn()]), drawn())
    with pytest.raises(UserError, match="one shape"):
        blend_noises([drawn(), drawn()[:1]])
    with pytest.raises(UserError, match="one or more"):
        blend_noises([])


def test_the_autocorrelation_is_that_of_values_a_lag_apart() -> None:
    assert diagnostics(drawn())["spatial_autocorrelation"] == autocorrelation(drawn(), SPACE)
    moved = torch.zeros(1, 40, 1, 1)
    moved[:, ::4] = 1.0
    assert autocorrelation(moved, TIME, 4) == pytest.approx(1, abs=0.1)
    assert (autocorrelation(moved, TIME, 2) or 0) == pytest.approx(-1 / 3, abs=0.1)
    assert autocorrelation(moved, TIME, 40) is None and autocorrelation(moved, SPACE) is None
    assert autocorrelation(torch.ones(1, 4, 4, 4), TIME) is None
