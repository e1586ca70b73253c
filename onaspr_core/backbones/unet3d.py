"""The ModelScope family (and ZeroScope): UNet3DConditionModel, AutoencoderKL per frame, CLIP text encoder.

Loaded by component in diffusers' and transformers' own on-disk format, not through the deprecated
TextToVideoSDPipeline, whose results it equals.
"""

from typing import Any

from diffusers import UNet3DConditionModel

from onaspr_core.backbones.unet import UNetBackbone
from onaspr_core.backbones.weights import Weights


class UNet3DBackbone(UNetBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def load_unet(self, weights: Weights) -> Any:
        """Load the denoiser."""
        return weights.denoiser(UNet3DConditionModel)


def load(weights: Weights) -> UNet3DBackbone:
    """Load the family."""
    return UNet3DBackbone(weights)
