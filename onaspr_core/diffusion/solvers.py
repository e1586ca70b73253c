"""Deterministic DDIM: denoising (Eq 1) and inversion (Eq 2) as free functions of a model and a grid.

A model is `predict(z, level_index) -> prediction`, of z's shape and dtype. Prompts and guidance are its own
matter, and nothing here draws noise, clips or loads anything.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from onaspr_core.diffusion.levels import NoiseLevels
from onaspr_core.errors import UserError

Predict = Callable[[Tensor, int], Tensor]
Latent = TypeVar("Latent", float, Tensor)

PREDICTION_TYPES = ("epsilon", "v_prediction", "flow")


@torch.no_grad()
def denoise(predict: Predict, z: Tensor, levels: NoiseLevels, prediction_type: str = "epsilon") -> Tensor:
    """Denoise a latent from the last level to the clean one, Eq 1 of arXiv 2311.00949.

    Args:
        predict: Called with the latent and its level, from levels.steps down to 1.
        z: Latent at the last level, any shape, float32 or float64; it is not changed.
        levels: The grid to walk.
        prediction_type: What predict returns: "epsilon" (the noise), "v_prediction" (signal·noise −
            noise·clean, arXiv 2202.00512) or "flow" (the velocity, gaussian − clean).

    Returns:
        The latent at level 0, of z's shape.

    Raises:
        UserError: for another prediction type.
    """
    for level in range(levels.steps, 0, -1):
        z = step(z, predict(z, level), levels, level, level - 1, prediction_type)
    return z


@torch.no_grad()
def invert(
    predict: Predict,
    z: Tensor,
    levels: NoiseLevels,
    prediction_type: str = "epsilon",
    fixed_point_iterations: int = 0,
    start: int = 0,
) -> Tensor:
    """Carry a clean latent to the noise that denoises to it, Eq 2 of arXiv 2311.00949.

    The mirror of `denoise` on the same grid, with the prediction taken at the step's source level.

    Args:
        predict: Called with the latent and its level, from `start` up to levels.steps − 1.
        z: Latent at level `start`, any shape, float32 or float64; it is not changed.
        levels: The grid to walk.
        prediction_type: As for `denoise`.
        fixed_point_iterations: Beyond the paper. Each asks the model again, at the step's target level, for
            the latent that `denoise` would carry back to z exactly (as in arXiv 2309.04907).
        start: The level to begin at. Above 0 is beyond the paper: `diffuse` brings a clean latent there.

    Returns:
        The latent at the last level, of z's shape.

    Raises:
        UserError: for another prediction type, a negative number of iterations, or a level that is none.
    """
    if fixed_point_iterations < 0:
        raise UserError(f"fixed_point_iterations = {fixed_point_iterations}: it must be 0 or more")
    _known_level(levels, start)
    for level in range(start, levels.steps):
        noisier = step(z, predict(z, level), levels, level, level + 1, prediction_type)
        for _ in range(fixed_point_iterations):
            noisier = step_back(z, predict(noisier, level + 1), levels, level + 1, level, prediction_type)
        z = noisier
    return z


def diffuse(clean: Tensor, gaussian: Tensor, levels: NoiseLevels, level: int) -> Tensor:
    """Return signal[level]·clean + noise[level]·gaussian, the forward process in one step.

    In place of the first inversion steps it keeps their error out of smooth regions (arXiv 2410.23530).

    Args:
        clean: Clean latents, any shape.
        gaussian: Standard Gaussian noise of that shape.
        levels: The grid.
        level: From 0 to levels.steps.

    Raises:
        UserError: for a level that the grid does not have.
    """
    _known_level(levels, level)
    return float(levels.signal[level]) * clean + float(levels.noise[level]) * gaussian


def _known_level(levels: NoiseLevels, level: int) -> None:
    if not 0 <= level <= levels.steps:
        raise UserError(f"level {level}: the grid of {levels.steps} steps has levels 0 to {levels.steps}")


def step(
    z: Latent, prediction: Latent, levels: NoiseLevels, source: int, target: int, prediction_type: str
) -> Latent:
    """Move a latent between two levels: the clean part and the noise that it is made of, weighed anew.

    Args:
        z: Latent at level `source`; a plain number will do.
        prediction: What the model says about z, of the same shape.
        levels: The grid.
        source: The level that z is at.
        target: The level to go to.
        prediction_type: As for `denoise`.

    Raises:
        UserError: as `split` does.
    """
    signal, noise = float(levels.signal[source]), float(levels.noise[source])
    clean, gaussian = split(z, prediction, signal, noise, prediction_type)
    return float(levels.signal[target]) * clean + float(levels.noise[target]) * gaussian


def step_back(
    z: Tensor, prediction: Tensor, levels: NoiseLevels, source: int, target: int, prediction_type: str
) -> Tensor:
    """Return the latent at `source` that `step` carries to z at `target`, given the prediction at `source`.

    A step is linear in latent and prediction, so its two weights are its values on the unit pairs.
    """
    of_latent = step(1.0, 0.0, levels, source, target, prediction_type)
    of_prediction = step(0.0, 1.0, levels, source, target, prediction_type)
    return (z - of_prediction * prediction) / of_latent


def split(
    z: Latent, prediction: Latent, signal: float, noise: float, prediction_type: str
) -> tuple[Latent, Latent]:
    """Split `z = signal·clean + noise·gaussian` into (clean, gaussian) by what the model says about it.

    Raises:
        UserError: for an unknown prediction type, and for "epsilon" at a level without any signal, where
            the noise says nothing about the clean part.
    """
    if prediction_type == "epsilon":
        if signal == 0.0:
            raise UserError(
                "this noise schedule ends in pure noise (zero terminal signal), where a model that predicts "
                "epsilon says nothing about the video; use a v_prediction model or another schedule"
            )
        return (z - noise * prediction) / signal, prediction
    if prediction_type == "v_prediction":
        power = signal * signal + noise * noise
        return (signal * z - noise * prediction) / power, (noise * z + signal * prediction) / power
    if prediction_type == "flow":
        return (z - noise * prediction) / (signal + noise), (z + signal * prediction) / (signal + noise)
    raise UserError(f"prediction_type = {prediction_type!r}; known: {', '.join(PREDICTION_TYPES)}")
