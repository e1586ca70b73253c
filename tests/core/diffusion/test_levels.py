"""The grid against diffusers' own DDIM scheduler."""

import json
from typing import Any

import diffusers
import diffusers.schedulers.deprecated
import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, DDIMScheduler

from onaspr_core.diffusion.levels import (
    NoiseLevels,
    inference_timesteps,
    levels_from_config,
    snr_shifted_alphas_cumprod,
    training_alphas_cumprod,
)
from onaspr_core.errors import UserError

MODELSCOPE: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "modelscope": MODELSCOPE,
    "linear to a clean end": {"beta_schedule": "linear", "set_alpha_to_one": True},
    "cosine, trailing": {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"},
    "zero terminal signal": {**MODELSCOPE, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    "trained betas": {"beta_schedule": "linear", "trained_betas": np.linspace(1e-4, 3e-2, 1000).tolist()},
    "defaults": {"beta_schedule": "linear"},
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_alphas_cumprod_are_those_of_diffusers_bit_for_bit(name: str) -> None:
    scheduler: Any = DDIMScheduler(**CONFIGURATIONS[name])
    assert np.array_equal(
        training_alphas_cumprod(CONFIGURATIONS[name]), scheduler.alphas_cumprod.double().numpy()
    )


@pytest.mark.parametrize(
    "config",
    [
        {"rescale_betas_zero_snr": True, "snr_shift_scale": 3.0},
        {"rescale_betas_zero_snr": True, "snr_shift_scale": 1.0},
        {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
        {},
    ],
)
def test_alphas_cumprod_of_cogvideox_are_those_of_diffusers_bit_for_bit(config: dict[str, Any]) -> None:
    scheduler: Any = CogVideoXDDIMScheduler(**config)
    assert np.array_equal(snr_shifted_alphas_cumprod(config), scheduler.alphas_cumprod.double().numpy())


@pytest.mark.parametrize("steps", [1, 8, 20, 50, 125])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_grid_is_what_diffusers_steps_through_when_steps_divide_the_training_timesteps(
    name: str, steps: int
) -> None:
    """A step of diffusers is linear: stepping from (1, 0) and (0, 1) reveals the weights that it used."""
    config: dict[str, Any] = {**CONFIGURATIONS[name], "clip_sample": False, "prediction_type": "sample"}
    levels = levels_from_config(config, steps)
    scheduler: Any = DDIMScheduler(**config)
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == levels.timesteps[:0:-1].tolist()
    for index, timestep in zip(range(steps, 0, -1), scheduler.timesteps.tolist(), strict=True):
        before = 1000 // steps
        source = scheduler.alphas_cumprod[timestep]
        target = (
            scheduler.alphas_cumprod[timestep - before]
            if timestep >= before
            else scheduler.final_alpha_cumprod
        )
        assert levels.signal[index] ** 2 == pytest.approx(float(source), abs=1e-12)
        assert levels.signal[index - 1] ** 2 == pytest.approx(float(target), abs=1e-12)
        stepped = scheduler.step(torch.tensor(1.0), timestep, torch.tensor(0.0)).prev_sample
        if source < 1:
            expected = (
                levels.signal[index - 1]
                - levels.signal[index] / levels.noise[index] * levels.noise[index - 1]
            )
            assert float(stepped) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 3, 7, 20, 30, 48, 333, 999])
def test_a_grid_that_does_not_divide_the_timesteps_is_its_own_and_strictly_falls_in_signal(
    spacing: str, steps: int
) -> None:
    levels = levels_from_config({**MODELSCOPE, "timestep_spacing": spacing, "steps_offset": 0}, steps)
    assert len(levels.signal) == len(levels.noise) == len(levels.timesteps) == steps + 1
    assert (np.diff(levels.signal[1:]) < 0).all() and levels.signal[1] <= levels.signal[0]
    assert (np.diff(levels.timesteps[1:]) > 0).all() and levels.timesteps.max() < 1000
    assert np.allclose(levels.signal**2 + levels.noise**2, 1, atol=1e-15)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [3, 7, 30, 48])
def test_timesteps_are_those_of_diffusers_for_every_step_count(spacing: str, steps: int) -> None:
    config = {**MODELSCOPE, "timestep_spacing": spacing}
    scheduler: Any = DDIMScheduler(**config)
    scheduler.set_timesteps(steps)
    assert inference_timesteps(config, steps).tolist() == scheduler.timesteps.tolist()[::-1]


def test_the_clean_level_has_the_final_alpha_and_timestep_zero() -> None:
    kept = levels_from_config(MODELSCOPE, 50)
    assert kept.signal[0] ** 2 == pytest.approx(1 - 0.00085, abs=1e-7)
    assert kept.timesteps[0] == 0 and kept.timesteps[1] == 1
    clean = levels_from_config({**MODELSCOPE, "set_alpha_to_one": True}, 50)
    assert clean.signal[0] == 1.0 and clean.noise[0] == 0.0 and clean.timesteps[0] == 0


@pytest.mark.parametrize(
    ("change", "steps", "told"),
    [
        ({}, 0, "use 1 to 1000"),
        ({}, 1001, "use 1 to 1000"),
        ({}, 1000, "fewer steps"),
        ({"timestep_spacing": "random"}, 10, "leading, trailing, linspace"),
        ({"beta_schedule": "sigmoid"}, 10, "linear, scaled_linear, squaredcos_cap_v2"),
    ],
)
def test_an_impossible_grid_says_what_is_allowed(change: dict[str, Any], steps: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        levels_from_config({**MODELSCOPE, **change}, steps)


BETAS = {
    *("DDIMInverse", "DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "DEISMultistep", "DPMSolverMultistep"),
    *("DPMSolverMultistepInverse", "DPMSolverSinglestep", "EulerAncestralDiscrete", "EulerDiscrete"),
    *("HeunDiscrete", "KDPM2AncestralDiscrete", "KDPM2Discrete", "LCM", "LMSDiscrete", "PNDM", "RePaint"),
    *("SASolver", "TCD", "UnCLIP", "UniPCMultistep"),
}
OTHER_LEVELS = {
    "CMStochasticIterative": "sigma_data = 0.5 and no beta_schedule",
    "EDMDPMSolverMultistep": "sigma_data = 0.5 and no beta_schedule",
    "EDMEuler": "sigma_data = 0.5 and no beta_schedule",
    "SCM": "sigma_data = 0.5 and no beta_schedule",
    "FlowMatchEulerDiscrete": "shift = 1.0 and no beta_schedule",
    "FlowMatchHeunDiscrete": "shift = 1.0 and no beta_schedule",
    "CogVideoXDDIM": "snr_shift_scale = 3.0",
    "CogVideoXDPM": "snr_shift_scale = 3.0",
    "DDPMWuerstchen": "no beta_schedule",
    "IPNDM": "no beta_schedule",
    "KarrasVe": "no beta_schedule",
    "ScoreSdeVe": "no beta_schedule",
    "ScoreSdeVp": "no beta_schedule",
}


def saved(name: str, **told: Any) -> tuple[Any, dict[str, Any]]:
    """A scheduler of diffusers, and what it writes into scheduler_config.json."""
    room = diffusers if hasattr(diffusers, f"{name}Scheduler") else diffusers.schedulers.deprecated
    scheduler = getattr(room, f"{name}Scheduler")(**told)
    return scheduler, json.loads(scheduler.to_json_string())


@pytest.mark.parametrize("name", sorted(BETAS))
def test_the_levels_of_every_scheduler_with_betas_are_its_own(name: str) -> None:
    scheduler, config = saved(name)
    assert np.array_equal(training_alphas_cumprod(config), scheduler.alphas_cumprod.double().numpy())


@pytest.mark.parametrize("name", OTHER_LEVELS)
def test_a_model_of_other_levels_is_refused_and_what_tells_it_is_named(name: str) -> None:
    _, config = saved(name)
    with pytest.raises(UserError, match=rf"scheduler, {name}Scheduler, has {OTHER_LEVELS[name]}: its noise"):
        levels_from_config(config, 10)


FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize(
    ("name", "told", "expected"),
    [
        ("UniPCMultistep", FLOW, "use_flow_sigmas = True"),
        ("DPMSolverMultistep", FLOW, "use_flow_sigmas = True"),
        ("DEISMultistep", FLOW, "use_flow_sigmas = True"),
        (
            "EulerDiscrete",
            {"timestep_type": "continuous", "prediction_type": "v_prediction", "sigma_max": 700.0},
            "continuous timesteps",
        ),
    ],
)
def test_a_scheduler_with_betas_that_does_not_step_through_them_is_refused(
    name: str, told: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=f"has {expected}:"):
        levels_from_config(saved(name, **told)[1], 10)


def test_what_a_conversion_leaves_behind_hides_no_edm_model() -> None:
    with_betas = DDIMScheduler.from_config(saved("EDMEuler")[1])
    assert "beta_schedule" in with_betas.config
    edm = diffusers.EDMEulerScheduler.from_config(saved("DDIM")[1])
    assert "beta_schedule" in edm.config
    for scheduler in (with_betas, edm):
        with pytest.raises(UserError, match=r"has sigma_data = 0\.5:"):
            levels_from_config(scheduler.config, 10)


def test_a_choice_of_grid_is_no_other_model() -> None:
    plain = levels_from_config(saved("EulerDiscrete")[1], 10)
    for told in ({"use_karras_sigmas": True}, {"sigma_min": 0.1, "sigma_max": 9.0}):
        found = levels_from_config(saved("EulerDiscrete", **told)[1], 10)
        assert np.array_equal(found.signal, plain.signal)


@pytest.mark.parametrize(
    ("signal", "noise", "timesteps"),
    [([1.0], [0.0], [0]), ([1.0, 0.5], [0.0], [0, 1]), ([1.0, float("nan")], [0.0, 1.0], [0, 1])],
)
def test_levels_that_do_not_fit_together_are_refused(
    signal: list[float], noise: list[float], timesteps: list[int]
) -> None:
    with pytest.raises(UserError):
        NoiseLevels(np.array(signal), np.array(noise), np.array(timesteps))


def test_levels_are_kept_as_float64_whatever_they_are_given_as() -> None:
    levels = NoiseLevels(
        torch.tensor([1.0, 0.5]).numpy(), np.array([0, 1], dtype=np.int32), np.array([0, 10])
    )
    assert levels.signal.dtype == levels.noise.dtype == np.float64
    assert levels.steps == 1
