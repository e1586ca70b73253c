"""A video autoencoder applied to whole clips, with latents on the scale that the denoiser was trained on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onaspr_core.errors import UserError


class ClipAutoencoder:
    """An autoencoder of diffusers' whose latents are (mode − mean) / deviation; it sees one clip at once."""

    def __init__(
        self, vae: Any, device: torch.device, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        """Take a loaded autoencoder, the device that it computes on, and one or C means and deviations."""
        self._vae, self._device = vae, device
        self._mean, self._deviation = (
            torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1, 1)
            for values in (mean, deviation)
        )

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Turn video (B, 3, F, H, W) in [−1, 1] into the mode of its latents, (B, C, T, h, w) float32."""
        with torch.inference_mode():
            clips = video.to(self._device, self._vae.dtype).split(1)
            modes = [self._vae.encode(clip).latent_dist.mode().float() for clip in clips]
        return (torch.cat(modes) - self._mean) / self._deviation

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents (B, C, T, h, w) into video (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        scaled = latents.to(self._device, torch.float32) * self._deviation + self._mean
        with torch.inference_mode():
            clips = [self._vae.decode(clip).sample.float() for clip in scaled.to(self._vae.dtype).split(1)]
        return torch.cat(clips).clamp_(-1, 1)


def channels(taken: int, made: int) -> int:
    """Return the number of channels C of a latent.

    Args:
        taken: What the denoiser takes.
        made: What the autoencoder makes.

    Raises:
        UserError: when they differ, as where the denoiser takes an image besides.
    """
    if taken != made:
        raise UserError(
            f"the transformer takes {taken} channels and the autoencoder makes {made}: this is no "
            "text-to-video model; name the one of its makers that takes nothing but text"
        )
    return made
