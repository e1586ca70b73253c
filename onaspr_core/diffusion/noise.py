"""Initial noise: drawn at random, mixed with inverted noise, and described in numbers.

Where inverted noise comes from (`onaspr_core.inversion`) and what is made of it does not belong here.
"""

import hashlib
import json
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from onaspr_core.errors import UserError

SPACE, TIME = (2, 3), (1,)
"""Axes of a latent (C, T, h, w)."""


def random_noise(shape: Sequence[int], *, seed: int, prompt_id: str, sample_index: int) -> Tensor:
    """Draw the standard Gaussian noise that belongs to one sample of one prompt.

    A function of its arguments alone: batch, device, order and resumption do not enter, so all variants of an
    experiment start from the same noise. Drawn with numpy's Philox, seeded with all 256 bits of a SHA-256,
    because torch's CPU generator keeps 32 bits of its seed and its normals differ between CPU types.

    Args:
        shape: Shape of one latent, such as (C, T, h, w).
        seed: The prompt set's seed.
        prompt_id: The prompt's id within its set.
        sample_index: 0 for a prompt's first sample, 1 for its second …

    Returns:
        A float32 tensor on the CPU.
    """
    name = json.dumps([int(seed), str(prompt_id), int(sample_index)])
    digest = hashlib.sha256(name.encode()).digest()
    generator = np.random.Generator(np.random.Philox(int.from_bytes(digest)))
    return torch.from_numpy(generator.standard_normal(tuple(shape), dtype=np.float32))


def mix_noise(random: Tensor | None, inverted: Tensor | None, eta: float) -> Tensor:
    """Mix random and inverted noise so that the variance stays, Eq 4: (random + eta·inverted) / √(1 + eta²).

    Args:
        random: Standard Gaussian noise; may be None where eta is infinite.
        inverted: Inverted noise of the same shape; may be None where eta is 0.
        eta: 0 (random alone, bit for bit) to infinity (inverted alone, bit for bit).

    Returns:
        A new tensor of that shape.

    Raises:
        UserError: for a negative or NaN eta, a noise that is needed and missing, or shapes that differ.
    """
    if math.isnan(eta) or eta < 0:
        raise UserError(f"eta = {eta}: it must be a number from 0 to infinity")
    if eta == 0:
        return _needed(random, "random", eta).clone()
    if math.isinf(eta):
        return _needed(inverted, "inverted", eta).clone()
    random, inverted = _needed(random, "random", eta), _needed(inverted, "inverted", eta)
    if random.shape != inverted.shape:
        raise UserError(
            f"random noise {tuple(random.shape)} and inverted noise {tuple(inverted.shape)} differ in shape"
        )
    norm = math.hypot(1.0, eta)
    return random * (1.0 / norm) + inverted * (eta / norm)


def blend_noises(noises: Sequence[Tensor]) -> Tensor:
    """Add noises with equal weights, so that the blend's mean square is the mean of theirs; beyond the paper.

    Equal noises blend to themselves, and independent ones have weights of nearly 1/√n. Squares are about 0,
    not about each noise's mean: the model knows noise of mean square 1, whose mean is one component among
    others, and noises of similar clips share theirs. About the mean, a shared one would grow up to √n-fold.

    Args:
        noises: One or more of one shape; a single one is returned bit for bit.

    Raises:
        UserError: without noises, where shapes differ, or where they cancel each other out.
    """
    shapes = {tuple(noise.shape) for noise in noises}
    if len(shapes) != 1:
        raise UserError(f"noises to blend must be one or more of one shape, not of {sorted(shapes)}")
    if len(noises) == 1:
        return noises[0]
    parts = torch.stack(list(noises))
    total = parts.sum(0)
    power = float(total.double().square().mean())
    if power == 0:
        raise UserError("noises to blend cancel each other out; set inversion.neighbours = 1")
    return total * math.sqrt(float(parts.double().square().mean()) / power)


def _needed(noise: Tensor | None, name: str, eta: float) -> Tensor:
    if noise is None:
        raise UserError(f"eta = {eta} needs {name} noise, and there is none")
    return noise


def diagnostics(noise: Tensor) -> dict[str, float | None]:
    """Describe how far one noise latent is from white Gaussian noise.

    Args:
        noise: One latent (C, T, h, w).

    Returns:
        mean (0 for Gaussian noise), variance (1), kurtosis (the fourth standardised moment: 3), and the
        correlation of neighbouring values in space (over h and w) and in time (over T), both 0; a
        correlation is None where there are no neighbours or the latent is constant.
    """
    values = noise.detach().double().cpu()
    mean = values.mean()
    centred = values - mean
    variance = centred.square().mean()
    spread = float(variance)
    return {
        "mean": float(mean),
        "variance": spread,
        "kurtosis": float(centred.pow(4).mean()) / spread**2 if spread > 0 else None,
        "spatial_autocorrelation": autocorrelation(values, SPACE),
        "temporal_autocorrelation": autocorrelation(values, TIME),
    }


def autocorrelation(noise: Tensor, axes: Sequence[int], lag: int = 1) -> float | None:
    """Return the correlation of values that lie `lag` apart along any of the axes; 0 for white noise.

    Args:
        noise: One latent (C, T, h, w).
        axes: `SPACE` or `TIME`.
        lag: 1 or more.

    Returns:
        None where no values lie so far apart, or the latent is constant.
    """
    values = noise.detach().double().cpu()
    centred = values - values.mean()
    spread = float(centred.square().mean())
    products = [
        (centred.narrow(axis, 0, size - lag) * centred.narrow(axis, lag, size - lag)).flatten()
        for axis in axes
        if (size := centred.shape[axis]) > lag
    ]
    return float(torch.cat(products).mean()) / spread if products and spread > 0 else None
