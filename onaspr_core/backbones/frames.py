"""An image autoencoder applied to every frame of a video."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from onaspr_core.errors import UserError

PIXELS_PER_CALL = 2**22
"""The autoencoder sees at most this many pixels at once, 64 frames of 256 × 256."""


class FrameAutoencoder:
    """An AutoencoderKL of diffusers' whose latents are scaled (and shifted) as its configuration says."""

    def __init__(self, vae: Any, device: torch.device) -> None:
        """Take a loaded autoencoder, and the device that it computes on.

        Raises:
            UserError: for one whose latents are scaled channel by channel.
        """
        if getattr(vae.config, "latents_mean", None) or getattr(vae.config, "latents_std", None):
            raise UserError(
                "the autoencoder's latents are scaled channel by channel (latents_mean, latents_std), which "
                "this family does not do; choose another model"
            )
        self._vae, self._device = vae, device
        self._scaling = float(vae.config.scaling_factor)
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0.0)

    @property
    def factor(self) -> int:
        """How many pixels a latent value stands for, in height and in width."""
        return int(2 ** (len(self._vae.config.block_out_channels) - 1))

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Turn video (B, 3, F, H, W) in [−1, 1] into the mode of its latents, (B, C, F, h, w) float32."""
        return self._per_frame(
            video,
            lambda frames: (self._vae.encode(frames).latent_dist.mode() - self._shift) * self._scaling,
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents (B, C, F, h, w) into video (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        return self._per_frame(
            latents,
            lambda frames: self._vae.decode(frames / self._scaling + self._shift).sample,
            pixels_per_value=self.factor**2,
        ).clamp_(-1, 1)

    def _per_frame(
        self, videos: Tensor, apply: Callable[[Tensor], Tensor], pixels_per_value: int = 1
    ) -> Tensor:
        """Apply an image model to every frame of (B, c, F, y, x), a bounded number of pixels at a time."""
        batch, _, frames, height, width = videos.shape
        images = videos.to(self._device, self._vae.dtype).transpose(1, 2).flatten(0, 1)
        per_call = max(1, PIXELS_PER_CALL // (height * width * pixels_per_value))
        with torch.inference_mode():
            parts = [apply(chunk).float() for chunk in images.split(per_call)]
        results = torch.cat(parts)
        return results.reshape(batch, frames, *results.shape[1:]).transpose(1, 2).contiguous()
