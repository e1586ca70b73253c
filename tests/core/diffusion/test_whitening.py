"""Whitening: moments, a flat spectrum, kept phases, and what it leaves alone."""

import math

import pytest
import torch

from onaspr_core.diffusion.noise import diagnostics, random_noise
from onaspr_core.diffusion.whitening import frequency_rings, whiten
from onaspr_core.errors import UserError


def coloured(height: int = 12, width: int = 8) -> torch.Tensor:
    """Noise that is correlated in space, off centre and too wide."""
    white = random_noise((4, 3, height, width), seed=1, prompt_id="w", sample_index=0)
    smooth = torch.nn.functional.avg_pool2d(white, 3, 1, 1)
    return 0.4 + 1.7 * (white + 2 * smooth)


def test_none_is_the_same_tensor() -> None:
    noise = coloured()
    assert whiten(noise, "none") is noise


@pytest.mark.parametrize("whitening", ["standardize", "spatial"])
def test_the_mean_is_zero_and_the_variance_one(whitening: str) -> None:
    noise = coloured()
    kept = noise.clone()
    found = whiten(noise, whitening)
    told = diagnostics(found)
    assert told["mean"] == pytest.approx(0, abs=1e-6) and told["variance"] == pytest.approx(1, abs=1e-5)
    assert (found.shape, found.dtype) == (noise.shape, torch.float32)
    assert torch.equal(noise, kept)


def test_standardize_moves_and_scales_alone() -> None:
    noise = coloured()
    found = whiten(noise, "standardize")
    assert torch.allclose(found * noise.std(correction=0) + noise.mean(), noise, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(12, 8), (9, 9), (2, 16)])
def test_spatial_makes_the_power_of_every_ring_the_same(height: int, width: int) -> None:
    noise = coloured(height, width)
    rings = frequency_rings(height, width)

    def power_of_rings(values: torch.Tensor) -> torch.Tensor:
        power = torch.fft.fft2(values.double()).abs().square().mean((0, 1))
        # Ring 0 is the mean, which standardizing moves.
        return torch.stack([power[rings == ring].mean() for ring in rings.unique() if ring > 0])

    before, after = power_of_rings(noise), power_of_rings(whiten(noise, "spatial"))
    assert float(before.max() / before.min()) > 2
    assert float(after.max() / after.min()) == pytest.approx(1, abs=1e-5)


def test_spatial_keeps_phases_and_lowers_the_correlation() -> None:
    noise = coloured()
    found = whiten(noise, "spatial")
    before, after = (torch.fft.fft2(values.double()).flatten(2)[..., 1:] for values in (noise, found))
    ratio = after / before
    assert float(ratio.imag.abs().max()) < 1e-4 and float(ratio.real.min()) > 0
    correlation = diagnostics(noise)["spatial_autocorrelation"]
    assert correlation is not None and correlation > 0.3
    left = diagnostics(found)["spatial_autocorrelation"]
    assert left is not None and abs(left) < 0.1


def test_rings_are_frequencies_of_equal_radius() -> None:
    rings = frequency_rings(8, 8)
    assert rings[0, 0] == 0 and rings[0, 1] == rings[1, 0] == rings[7, 0] == rings[0, 7] == 1
    assert rings[4, 4] == round(math.hypot(4, 4))
    assert frequency_rings(4, 8)[1, 0] == frequency_rings(4, 8)[0, 2] == 2


@pytest.mark.parametrize("whitening", ["standardize", "spatial"])
def test_a_constant_latent_becomes_zeros(whitening: str) -> None:
    assert not whiten(torch.full((2, 1, 4, 4), 3.0), whitening).any()


def test_an_unknown_whitening_is_told_which_are_known() -> None:
    with pytest.raises(UserError, match="'pink'; known: none, standardize, spatial"):
        whiten(coloured(), "pink")
