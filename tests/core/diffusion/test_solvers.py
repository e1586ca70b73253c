"""The solvers against the closed form of a Gaussian data model, against diffusers, and against themselves."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from onaspr_core.diffusion.flow_levels import flow_levels_from_config
from onaspr_core.diffusion.levels import NoiseLevels, levels_from_config, snr_shifted_alphas_cumprod
from onaspr_core.diffusion.solvers import PREDICTION_TYPES, denoise, diffuse, invert, step
from onaspr_core.errors import UserError

STABLE_DIFFUSION: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
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
MEAN, SPREAD = 0.3, 0.7
Predict = Callable[[Tensor, int], Tensor]


def diffusion_levels(steps: int = 50) -> NoiseLevels:
    return levels_from_config(STABLE_DIFFUSION, steps)


def flow_levels(steps: int = 50) -> NoiseLevels:
    noise = np.linspace(0.001, 0.999, steps + 1)
    return NoiseLevels(1 - noise, noise, 1000 * noise)


def levels_for(prediction_type: str, steps: int = 50) -> NoiseLevels:
    return flow_levels(steps) if prediction_type == "flow" else diffusion_levels(steps)


def gaussian_model(levels: NoiseLevels, prediction_type: str) -> Predict:
    """The best possible prediction when clean values are normal with MEAN and SPREAD."""

    def predict(z: Tensor, level: int) -> Tensor:
        signal, noise = float(levels.signal[level]), float(levels.noise[level])
        surprise = (z - signal * MEAN) / (signal**2 * SPREAD**2 + noise**2)
        clean, gaussian = MEAN + signal * SPREAD**2 * surprise, noise * surprise
        if prediction_type == "epsilon":
            return gaussian
        return gaussian - clean if prediction_type == "flow" else signal * gaussian - noise * clean

    return predict


def latent(seed: int = 0) -> Tensor:
    return torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
