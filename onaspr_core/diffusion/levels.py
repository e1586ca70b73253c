"""The noise levels that denoising and inversion step through.

A grid belongs to a model and a number of steps. Which prompt or noise is used at a level is not decided here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from onaspr_core.errors import UserError

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
TIMESTEP_SPACINGS = ("leading", "trailing", "linspace")
_OF_OTHER_LEVELS = ("sigma_data", "shift", "use_flow_sigmas", "snr_shift_scale")
"""Keys of scheduler configurations that mean other levels than those of betas: EDM, flows, CogVideoX."""


@dataclass(frozen=True, eq=False)
class NoiseLevels:
    """The levels of an n-step grid: a latent at level k is `signal[k]·clean + noise[k]·gaussian`.

    Args:
        signal: n+1 weights of the clean latent, kept as float64; index 0 is the clean end, n the noisy one.
        noise: n+1 weights of the Gaussian noise, kept as float64.
        timesteps: What the model is told at each level, n+1 values. Index 0 is used by inversion alone,
            whose first step asks the model about the clean latent.

    Raises:
        UserError: when the three differ in length, hold fewer than two levels, or a value is not finite.
    """

    signal: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    timesteps: npt.NDArray[Any]

    def __post_init__(self) -> None:
        for name in ("signal", "noise"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=np.float64))
        object.__setattr__(self, "timesteps", np.array(self.timesteps))
        shapes = {self.signal.shape, self.noise.shape, self.timesteps.shape}
        if len(shapes) != 1 or self.signal.ndim != 1 or len(self.signal) < 2:
            raise UserError(
                "noise levels need signal, noise and timesteps of one length, two or more; "
                f"got shapes {self.signal.shape}, {self.noise.shape} and {self.timesteps.shape}"
            )
        if not all(np.isfinite(values).all() for values in (self.signal, self.noise, self.timesteps)):
            raise UserError("noise levels must be finite numbers")

    @property
    def steps(self) -> int:
        """The number of steps n from one end of the grid to the other."""
        return len(self.signal) - 1


def levels_from_config(
    config: Mapping[str, Any], steps: int, alphas_cumprod: npt.NDArray[np.float64] | None = None
) -> NoiseLevels:
    """Build the grid that a diffusers scheduler configuration describes.

    The levels are those that diffusers' DDIMScheduler steps through wherever its own rule for the previous
    timestep (t − num_train_timesteps // steps) agrees with its grid; elsewhere the previous timestep is the
    grid's own. Level 0 has the scheduler's final_alpha_cumprod and timestep 0: exactly its training timestep
    where set_alpha_to_one is false, and the nearest one the model has seen where it is true. Clipping and
    thresholding in the configuration are ignored: they have no inverse.

    Args:
        config: The content of scheduler_config.json, of any scheduler with a beta schedule; other absent keys
            take DDIMScheduler's defaults.
        steps: From 1 to the number of training timesteps.
        alphas_cumprod: Of each training timestep; left out, those of `training_alphas_cumprod`.

    Raises:
        UserError: for a step count or a configuration that gives no such grid.
    """
    if alphas_cumprod is None:
        alphas_cumprod = training_alphas_cumprod(config)
    timesteps = inference_timesteps(config, steps)
    final = 1.0 if config.get("set_alpha_to_one", True) else alphas_cumprod[0]
    alphas = np.concatenate([[final], alphas_cumprod[timesteps]])
    return NoiseLevels(
        signal=np.sqrt(alphas), noise=np.sqrt(1.0 - alphas), timesteps=np.concatenate([[0], timesteps])
    )


def inference_timesteps(config: Mapping[str, Any], steps: int) -> npt.NDArray[np.int64]:
    """Return the timesteps of levels 1 … steps, rising (Table 2 of arXiv 2305.08891).

    Raises:
        UserError: for a step count or a spacing that gives no such grid.
    """
    trained = training_timesteps(config, steps)
    spacing = config.get("timestep_spacing", "leading")
    timesteps: npt.NDArray[Any]
    if spacing == "leading":
        timesteps = np.arange(steps) * (trained // steps) + int(config.get("steps_offset", 0))
    elif spacing == "trailing":
        timesteps = np.round(np.arange(trained, 0, -trained / steps))[:steps][::-1] - 1
    elif spacing == "linspace":
        timesteps = np.linspace(0, trained - 1, steps).round()
    else:
        known = ", ".join(TIMESTEP_SPACINGS)
        raise UserError(f"timestep_spacing = {spacing!r} in the scheduler's configuration; known: {known}")
    if timesteps[-1] >= trained:
        raise UserError(
            f"steps = {steps} with steps_offset = {config.get('steps_offset')} reaches timestep "
            f"{timesteps[-1]:.0f}, but the model knows 0 to {trained - 1}; use fewer steps"
        )
    return timesteps.astype(np.int64)


def training_timesteps(config: Mapping[str, Any], steps: int) -> int:
    """Return how many timesteps the model was trained with.

    Raises:
        UserError: when that is fewer than the steps, or there is no step.
    """
    trained = int(config.get("num_train_timesteps", 1000))
    if not 1 <= steps <= trained:
        raise UserError(
            f"steps = {steps}: the model has {trained} training timesteps; use 1 to {trained} steps"
        )
    return trained


def training_alphas_cumprod(config: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Return the scheduler's alphas_cumprod, (num_train_timesteps,), as float64.

    Computed in float32 as diffusers does, because those are the values that the model was trained with.

    Raises:
        UserError: for an unknown beta schedule, and as `check_betas`.
    """
    check_betas(config)
    betas = _betas(config)
    if config.get("rescale_betas_zero_snr", False):
        betas = _rescaled_to_zero_terminal_snr(betas)
    return torch.cumprod(1.0 - betas, dim=0).double().numpy()


def check_betas(config: Mapping[str, Any]) -> None:
    """Refuse the configuration of a model that was trained at other noise levels than those of betas.

    Its keys tell: all schedulers with betas write down their schedule, whatever their solver and grid. A key
    that a conversion left behind counts too, as it tells of the scheduler that the model came with.

    Raises:
        UserError: it names what the configuration holds or lacks.
    """
    told = [f"{key} = {config[key]!r}" for key in _OF_OTHER_LEVELS if config.get(key)]
    if config.get("timestep_type") == "continuous" and config.get("prediction_type") == "v_prediction":
        told.append("continuous timesteps")
    if "beta_schedule" not in config:
        told.append("no beta_schedule")
    if told:
        raise UserError(
            f"the model's scheduler, {config.get('_class_name')}, has {' and '.join(told)}: its noise levels "
            "are not those of betas, which are all that this family steps through; name another model"
        )


def snr_shifted_alphas_cumprod(config: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Return the alphas_cumprod of diffusers' CogVideoXDDIMScheduler, (num_train_timesteps,), as float64.

    The ratio of signal to noise is divided by snr_shift_scale, and only then is the end brought to zero
    signal. Absent keys take that scheduler's defaults.

    Raises:
        UserError: for an unknown beta schedule.
    """
    defaults = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    alphas = torch.cumprod(1.0 - _betas({**defaults, **config}, torch.float64), dim=0)
    scale = float(config.get("snr_shift_scale", 3.0))
    alphas = alphas / (scale + (1 - scale) * alphas)
    if config.get("rescale_betas_zero_snr", False):
        alphas = _ending_at_zero(alphas.sqrt()) ** 2
    return alphas.double().numpy()


def _betas(config: Mapping[str, Any], precise: torch.dtype = torch.float32) -> torch.Tensor:
    """Betas as float32; a scaled_linear schedule, which CogVideoX has in float64, in the dtype given."""
    trained_betas = config.get("trained_betas")
    if trained_betas is not None:
        return torch.tensor(trained_betas, dtype=torch.float32)
    count = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    schedule = config.get("beta_schedule", "linear")
    if schedule == "linear":
        return torch.linspace(start, end, count, dtype=torch.float32)
    if schedule == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, count, dtype=precise) ** 2
    if schedule == "squaredcos_cap_v2":
        edges = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
        return torch.tensor(np.minimum(1 - edges[1:] / edges[:-1], 0.999), dtype=torch.float32)
    known = ", ".join(BETA_SCHEDULES)
    raise UserError(f"beta_schedule = {schedule!r} in the scheduler's configuration; known: {known}")


def _rescaled_to_zero_terminal_snr(betas: torch.Tensor) -> torch.Tensor:
    """Shift and scale the schedule so that its last level is pure noise (algorithm 1 of arXiv 2305.08891)."""
    alphas = _ending_at_zero(torch.cumprod(1.0 - betas, dim=0).sqrt()) ** 2
    return 1 - torch.cat([alphas[:1], alphas[1:] / alphas[:-1]])


def _ending_at_zero(signal: torch.Tensor) -> torch.Tensor:
    first, last = signal[0].clone(), signal[-1].clone()
    return (signal - last) * (first / (first - last))
