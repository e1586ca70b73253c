"""What the solvers visit, keep and refuse, and walks over a part of the grid."""

import pytest
import torch
from torch import Tensor

from onaspr_core.diffusion.levels import levels_from_config
from onaspr_core.diffusion.solvers import PREDICTION_TYPES, denoise, diffuse, invert, step
from onaspr_core.errors import UserError
from tests.core.diffusion.gaussian import (
    STABLE_DIFFUSION,
    diffusion_levels,
    gaussian_model,
    latent,
    levels_for,
)


def test_denoising_and_inversion_visit_one_grid_in_opposite_directions() -> None:
    levels = diffusion_levels(8)
    visited: list[int] = []

    def predict(z: Tensor, level: int) -> Tensor:
        visited.append(level)
        return torch.zeros_like(z)

    denoise(predict, latent(), levels)
    assert visited == [8, 7, 6, 5, 4, 3, 2, 1]
    visited.clear()
    invert(predict, latent(), levels)
    assert visited == [0, 1, 2, 3, 4, 5, 6, 7]
    visited.clear()
    invert(predict, latent(), levels, fixed_point_iterations=1)
    assert visited == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]


def test_a_constant_zero_noise_prediction_only_rescales_the_latent() -> None:
    levels = diffusion_levels(10)
    z = latent()
    assert torch.allclose(
        denoise(lambda z, _: torch.zeros_like(z), z, levels),
        z * levels.signal[0] / levels.signal[-1],
        rtol=1e-13,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_latent_keeps_its_dtype_and_is_not_changed(dtype: torch.dtype) -> None:
    levels = diffusion_levels(5)
    z = latent().to(dtype)
    before = z.clone()
    for solver in (denoise, invert):
        assert solver(lambda z, _: 0.1 * z, z, levels).dtype == dtype
    assert torch.equal(z, before)


def test_samples_of_a_batch_do_not_influence_one_another() -> None:
    levels, z = diffusion_levels(), latent(6)
    model = gaussian_model(levels, "epsilon")
    together = invert(model, z, levels)
    apart = torch.cat([invert(model, z[i : i + 1], levels) for i in range(len(z))])
    assert torch.equal(together, apart)


def test_large_values_are_not_clipped() -> None:
    levels, z = diffusion_levels(), 1e3 * latent(7)
    clean = denoise(lambda z, _: torch.zeros_like(z), z, levels)
    assert float(clean.abs().max()) > 1e4


def test_a_grid_that_ends_without_signal_works_with_v_prediction_and_is_refused_for_epsilon() -> None:
    config = {**STABLE_DIFFUSION, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    levels = levels_from_config(config, 50)
    assert levels.signal[-1] == 0
    model, clean = gaussian_model(levels, "v_prediction"), latent(8)
    noisy = invert(model, clean, levels, "v_prediction", fixed_point_iterations=8)
    assert float((denoise(model, noisy, levels, "v_prediction") - clean).abs().max()) < 1e-6
    with pytest.raises(UserError, match="v_prediction"):
        denoise(gaussian_model(levels, "epsilon"), noisy, levels, "epsilon")


def test_unknown_prediction_types_and_negative_iterations_are_refused() -> None:
    levels = diffusion_levels(2)
    for solver in (denoise, invert):
        with pytest.raises(UserError, match="epsilon, v_prediction, flow"):
            solver(lambda z, _: z, latent(), levels, "sample")
    with pytest.raises(UserError, match="fixed_point_iterations"):
        invert(lambda z, _: z, latent(), levels, fixed_point_iterations=-1)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
@pytest.mark.parametrize("level", [0, 1, 6, 7])
def test_diffusing_forward_is_the_weighted_sum_of_the_grid(prediction_type: str, level: int) -> None:
    levels = levels_for(prediction_type, 7)
    clean, gaussian = latent(1), latent(2)
    found = diffuse(clean, gaussian, levels, level)
    assert torch.equal(found, levels.signal[level] * clean + levels.noise[level] * gaussian)


def test_inversion_from_a_level_walks_the_rest_of_the_grid() -> None:
    levels, asked = diffusion_levels(7), []
    model = gaussian_model(levels, "epsilon")

    def predict(z: Tensor, level: int) -> Tensor:
        asked.append(level)
        return model(z, level)

    whole = invert(predict, latent(), levels)
    assert asked == list(range(7))
    part = latent()
    for level in range(3):
        part = step(part, model(part, level), levels, level, level + 1, "epsilon")
    asked.clear()
    assert torch.equal(invert(predict, part, levels, start=3), whole)
    assert asked == [3, 4, 5, 6]
    assert torch.equal(invert(predict, latent(), levels, start=7), latent())


@pytest.mark.parametrize("level", [-1, 8])
def test_a_level_that_the_grid_lacks_is_refused(level: int) -> None:
    with pytest.raises(UserError, match="levels 0 to 7"):
        diffuse(latent(), latent(), diffusion_levels(7), level)
    with pytest.raises(UserError, match="levels 0 to 7"):
        invert(gaussian_model(diffusion_levels(7), "epsilon"), latent(), diffusion_levels(7), start=level)
