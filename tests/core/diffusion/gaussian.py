"""A Gaussian data model, whose best predictions are known, on small grids."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onaspr_core.diffusion.levels import NoiseLevels, levels_from_config

STABLE_DIFFUSION: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "clip_sample": False,
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
