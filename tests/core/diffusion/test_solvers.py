"""The solvers against the closed form of a Gaussian data model, against diffusers, and against themselves."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from onaspr_core.diffusion.flow_levels import flow_levels_from_config
from onaspr_core.diffusion.levels import NoiseLevels, levels_from_config, snr_shifted_alphas_cumprod
from onaspr_core.diffusion.solvers import PREDICTION_TYPES, denoise, invert
from tests.core.diffusion.gaussian import (
    MEAN,
    SPREAD,
    STABLE_DIFFUSION,
    diffusion_levels,
    gaussian_model,
    latent,
    levels_for,
)

COGVIDEOX: dict[str, Any] = {
    "set_alpha_to_one": True,
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "snr_shift_scale": 3.0,
}
FLOWS: dict[str, dict[str, Any]] = {
    "wan": {
        "_class_name": "UniPCMultistepScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
    },
    "euler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 5.0},
}


def grid(name: str, steps: int) -> NoiseLevels:
    if name == "stable diffusion":
        return diffusion_levels(steps)
    if name == "cogvideox":
        return levels_from_config(COGVIDEOX, steps, snr_shifted_alphas_cumprod(COGVIDEOX))
    return flow_levels_from_config(FLOWS[name], steps)


def gaussian_walk(levels: NoiseLevels, z: Tensor, path: list[int]) -> Tensor:
    """Closed form of a walk with `gaussian_model`, for any weights a of the clean latent and b of the noise.

    With z given, the clean latent is MEAN + a·s²·d/v and the noise b·d/v, where d = z − a·MEAN and
    v = a²·s² + b². A step to (a′, b′) thus takes d to d·(a·a′·s² + b·b′)/v.
    """
    a, b = levels.signal[path], levels.noise[path]
    source = (a[:-1] * SPREAD) ** 2 + b[:-1] ** 2
    factor = float(np.prod((a[:-1] * a[1:] * SPREAD**2 + b[:-1] * b[1:]) / source))
    return float(a[-1]) * MEAN + factor * (z - float(a[0]) * MEAN)


ON_GRIDS = [
    ("stable diffusion", "epsilon"),
    ("stable diffusion", "v_prediction"),
    ("cogvideox", "v_prediction"),
    *((name, "flow") for name in FLOWS),
]


@pytest.mark.parametrize(("name", "prediction_type"), ON_GRIDS)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_inversion_of_a_gaussian_model_has_its_closed_form(
    name: str, prediction_type: str, steps: int
) -> None:
    levels, clean = grid(name, steps), latent()
    found = invert(gaussian_model(levels, prediction_type), clean, levels, prediction_type)
    expected = gaussian_walk(levels, clean, list(range(steps + 1)))
    assert float((found - expected).abs().max()) < 1e-12


@pytest.mark.parametrize(("name", "prediction_type"), ON_GRIDS)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_denoising_of_a_gaussian_model_has_its_closed_form(
    name: str, prediction_type: str, steps: int
) -> None:
    levels, noisy = grid(name, steps), latent(1)
    found = denoise(gaussian_model(levels, prediction_type), noisy, levels, prediction_type)
    expected = gaussian_walk(levels, noisy, list(range(steps, -1, -1)))
    assert float((found - expected).abs().max()) < 1e-12


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_denoising_agrees_with_diffusers_ddim_scheduler(prediction_type: str) -> None:
    def model(z: Tensor, timestep: int) -> Tensor:
        return torch.sin(3 * z + timestep / 200) * 0.5

    levels, z = diffusion_levels(), latent(2).float()
    scheduler: Any = DDIMScheduler(**STABLE_DIFFUSION, prediction_type=prediction_type)
    scheduler.set_timesteps(50)
    theirs = z
    for timestep in scheduler.timesteps.tolist():
        theirs = scheduler.step(model(theirs, timestep), timestep, theirs).prev_sample
    ours = denoise(lambda z, level: model(z, int(levels.timesteps[level])), z, levels, prediction_type)
    assert ours.dtype == torch.float32
    assert torch.allclose(ours, theirs, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_inverting_with_the_prediction_that_denoising_used_gives_back_the_input(prediction_type: str) -> None:
    """The exact mirror of Eq 1: with the same predictions in reverse, inversion undoes denoising."""
    levels, noisy = levels_for(prediction_type), latent(3)
    model = gaussian_model(levels, prediction_type)
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def remember(z: Tensor, level: int) -> Tensor:
        seen[level] = model(z, level), z
        return seen[level][0]

    clean = denoise(remember, noisy, levels, prediction_type)

    def recall(z: Tensor, level: int) -> Tensor:
        """What was predicted at the level above, told about z as it is here."""
        signal, noise = float(levels.signal[level]), float(levels.noise[level])
        above = float(levels.signal[level + 1]), float(levels.noise[level + 1])
        prediction, there = seen[level + 1]
        if prediction_type != "v_prediction":
            return prediction
        gaussian = above[1] * there + above[0] * prediction
        return signal * gaussian - noise * (z - noise * gaussian) / signal

    assert float((invert(recall, clean, levels, prediction_type) - noisy).abs().max()) < 1e-12


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_five_fixed_point_iterations_make_the_round_trip_exact(prediction_type: str) -> None:
    levels, clean = levels_for(prediction_type), latent(4)
    model = gaussian_model(levels, prediction_type)

    def error(iterations: int) -> float:
        noisy = invert(model, clean, levels, prediction_type, fixed_point_iterations=iterations)
        return float((denoise(model, noisy, levels, prediction_type) - clean).norm() / clean.norm())

    assert error(0) > 1e-3
    assert error(5) < 1e-6


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_round_trip_error_falls_in_proportion_to_the_step(prediction_type: str) -> None:
    def error(steps: int) -> float:
        levels = levels_for(prediction_type, steps)
        model, clean = gaussian_model(levels, prediction_type), latent(5)
        found = denoise(model, invert(model, clean, levels, prediction_type), levels, prediction_type)
        return float((found - clean).norm() / clean.norm())

    assert 1.7 < error(100) / error(200) < 2.3


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_prediction_type_changes_nothing_on_any_grid(prediction_type: str) -> None:
    """Weights that add up neither to one nor in squares: all three say the same about a latent."""
    noise = np.linspace(0.05, 1.7, 21)
    levels = NoiseLevels(np.linspace(1.2, 0.3, 21), noise, 1000 * noise)
    clean = latent(9)
    expected = invert(gaussian_model(levels, "epsilon"), clean, levels)
    found = invert(gaussian_model(levels, prediction_type), clean, levels, prediction_type)
    assert float((found - expected).abs().max()) < 1e-12
    expected = denoise(gaussian_model(levels, "epsilon"), clean, levels)
    found = denoise(gaussian_model(levels, prediction_type), clean, levels, prediction_type)
    assert float((found - expected).abs().max()) < 1e-12
