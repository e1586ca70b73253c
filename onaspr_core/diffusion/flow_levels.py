"""The grids of flow-matching models: at noise σ a latent is (1 − σ)·clean + σ·gaussian."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from onaspr_core.diffusion.levels import NoiseLevels, training_timesteps
from onaspr_core.errors import UserError

_OTHER_GRIDS = (
    "use_dynamic_shifting",
    "shift_terminal",
    "invert_sigmas",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
)


def flow_levels_from_config(config: Mapping[str, Any], steps: int) -> NoiseLevels:
    """Build the grid that a diffusers configuration of a flow-matching scheduler describes.

    The levels and timesteps are those that diffusers' scheduler steps through. Level 0 is clean, with
    timestep 0. UniPC keeps 10⁻⁶ of signal at the last level and tells the model whole timesteps;
    FlowMatchEuler ends in pure noise.

    Args:
        config: The content of scheduler_config.json, of a FlowMatchEulerDiscreteScheduler or of a
            UniPCMultistepScheduler with use_flow_sigmas and flow_prediction. Its order counts for nothing.
        steps: From 1 to the number of training timesteps.

    Raises:
        UserError: for a step count or a configuration that gives no such grid.
    """
    trained = training_timesteps(config, steps)
    others = [key for key in _OTHER_GRIDS if config.get(key)]
    if config.get("final_sigmas_type", "zero") != "zero":
        others.append("final_sigmas_type")
    if others:
        raise UserError(
            f"the scheduler's configuration sets {', '.join(others)}, which no grid here follows; take the "
            "configuration that Wan 2.1 ships"
        )
    kind = config.get("_class_name")
    if kind == "FlowMatchEulerDiscreteScheduler":
        shift = float(config.get("shift", 1.0))
        # diffusers shifts the lowest noise when it is made, and all of them again.
        sigmas = _shifted(np.linspace(1.0, _shifted(np.array(1 / trained), shift), steps), shift)
        timesteps = sigmas * trained
    elif (
        kind == "UniPCMultistepScheduler"
        and config.get("use_flow_sigmas")
        and config.get("prediction_type") == "flow_prediction"
    ):
        shift = float(config.get("flow_shift", 1.0))
        sigmas = np.linspace(1.0, 1 / trained, steps + 1)[:-1]
        # As diffusers writes it: timesteps are cut off to whole ones, and the last bit decides.
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
        sigmas[0] -= 1e-6
        timesteps = np.floor(sigmas * trained)
    else:
        raise UserError(
            f"the scheduler is a {kind}, and its configuration describes no flow matching; known: "
            "FlowMatchEulerDiscreteScheduler, and UniPCMultistepScheduler with use_flow_sigmas and "
            "flow_prediction"
        )
    noise = np.concatenate([[0.0], sigmas[::-1]])
    told = np.concatenate([[0.0], timesteps[::-1]]).astype(np.float32)
    return NoiseLevels(signal=1.0 - noise, noise=noise, timesteps=told)


def _shifted(sigma: npt.NDArray[np.float64], shift: float) -> npt.NDArray[np.float64]:
    """Move noises towards 1; the ends 0 and 1 stay exactly."""
    return shift * sigma / (shift * sigma + (1.0 - sigma))
