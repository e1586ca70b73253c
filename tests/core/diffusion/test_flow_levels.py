"""The flow grid against diffusers' schedulers."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from onaspr_core.diffusion.flow_levels import flow_levels_from_config
from onaspr_core.diffusion.solvers import denoise
from onaspr_core.errors import UserError

WAN: dict[str, Any] = {
    "_class_name": "UniPCMultistepScheduler",
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
}
EULER: dict[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}


def scheduler_of(config: dict[str, Any]) -> Any:
    kinds: list[Any] = [UniPCMultistepScheduler, FlowMatchEulerDiscreteScheduler]
    return next(kind for kind in kinds if kind.__name__ == config["_class_name"]).from_config(config)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 0.1])
@pytest.mark.parametrize("steps", [1, 7, 50, 333, 777, 1000])
@pytest.mark.parametrize(("config", "key"), [(WAN, "flow_shift"), (EULER, "shift")])
def test_the_grid_is_what_diffusers_steps_through(
    config: dict[str, Any], key: str, steps: int, shift: float
) -> None:
    config = {**config, key: shift}
    scheduler = scheduler_of(config)
    scheduler.set_timesteps(steps)
    levels = flow_levels_from_config(config, steps)
    assert levels.steps == steps
    assert np.allclose(levels.noise[::-1], scheduler.sigmas.numpy(), atol=2e-7)
    assert np.allclose(levels.timesteps[:0:-1], scheduler.timesteps.numpy(), atol=2e-4)
    assert np.allclose(levels.signal + levels.noise, 1, atol=1e-15)
    assert (np.diff(levels.noise) > 0).all()
    assert (levels.signal[0], levels.noise[0], levels.timesteps[0]) == (1, 0, 0)


def test_only_unipc_keeps_a_rest_of_signal() -> None:
    assert flow_levels_from_config(EULER, 50).signal[-1] == 0
    assert flow_levels_from_config(WAN, 50).signal[-1] == pytest.approx(1e-6, rel=1e-6)
    assert flow_levels_from_config(WAN, 50).timesteps[-1] == 999


def test_the_timesteps_of_unipc_are_whole_as_the_model_is_told_them() -> None:
    scheduler = scheduler_of(WAN)
    scheduler.set_timesteps(50)
    assert flow_levels_from_config(WAN, 50).timesteps[:0:-1].tolist() == scheduler.timesteps.tolist()


def test_denoising_agrees_with_the_euler_scheduler() -> None:
    levels, scheduler = flow_levels_from_config(EULER, 50), scheduler_of(EULER)
    scheduler.set_timesteps(50)
    z = torch.randn(2, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    theirs = z
    for timestep in scheduler.timesteps:
        theirs = scheduler.step(torch.sin(3 * theirs + timestep / 200), timestep, theirs).prev_sample
    ours = denoise(lambda z, k: torch.sin(3 * z + float(levels.timesteps[k]) / 200), z, levels, "flow")
    assert torch.allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "steps", "told"),
    [
        ({}, 0, "use 1 to 1000"),
        ({}, 1001, "use 1 to 1000"),
        ({"use_karras_sigmas": True}, 10, "sets use_karras_sigmas"),
        ({"use_dynamic_shifting": True, "shift_terminal": 0.1}, 10, "use_dynamic_shifting, shift_terminal"),
        ({"final_sigmas_type": "sigma_min"}, 10, "sets final_sigmas_type"),
        ({"use_flow_sigmas": False}, 10, "UniPCMultistepScheduler with use_flow_sigmas"),
        ({"prediction_type": "epsilon"}, 10, "use_flow_sigmas and flow_prediction"),
        ({"_class_name": "DDIMScheduler"}, 10, "scheduler is a DDIMScheduler"),
    ],
)
def test_an_impossible_grid_says_what_is_allowed(change: dict[str, Any], steps: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        flow_levels_from_config({**WAN, **change}, steps)
