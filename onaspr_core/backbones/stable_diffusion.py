"""Stable Diffusion 1.x and 2.x: UNet2DConditionModel, AutoencoderKL, CLIP text encoder; images.

Results equal those of diffusers' StableDiffusionPipeline with a DDIM scheduler and no safety checker.
"""

from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from onaspr_core.backbones.base import Texts
from onaspr_core.backbones.unet import UNetBackbone
from onaspr_core.backbones.weights import Weights


class StableDiffusionBackbone(UNetBackbone):
    """A video of one frame; see `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def load_unet(self, weights: Weights) -> Any:
        """Load the denoiser."""
        return weights.denoiser(UNet2DConditionModel)

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the UNet with images: latents (B, C, 1, h, w) lose their axis of time, and get it back."""
        return super().denoiser(sample.squeeze(2), timestep, texts).unsqueeze(2)


def load(weights: Weights) -> StableDiffusionBackbone:
    """Load the family."""
    return StableDiffusionBackbone(weights)
