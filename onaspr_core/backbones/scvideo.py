"""The SCVideo family: Stable Diffusion 1.5 or 2.1, inflated to video, from the image model's own folder.

A folder whose UNet is an `SCVideoUNet` has been trained on video (`onaspr_core.training`). One with a
UNet2DConditionModel is Stable Diffusion as it is, and is inflated when it is loaded: one frame, and frame 0
of more, is then what StableDiffusionPipeline makes with a DDIMScheduler. The weights that the paper's authors
trained were never published: with others, numbers are not the paper's.
"""

from collections.abc import Mapping
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor

from onaspr_core.backbones.base import Texts
from onaspr_core.backbones.scvideo_unet import SCVideoUNet
from onaspr_core.backbones.unet import UNetBackbone
from onaspr_core.backbones.weights import Weights


class SCVideoBackbone(UNetBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    @property
    def unet(self) -> SCVideoUNet:
        """The denoiser, whose inserted modules can be trained."""
        unet: SCVideoUNet = self._unet
        return unet

    def load_unet(self, weights: Weights) -> Any:
        """Load the denoiser, inflated where it is the image model's."""
        config = SCVideoUNet.load_config(weights.place("unet"))
        if config.get("_class_name") == SCVideoUNet.__name__:
            return weights.denoiser(SCVideoUNet)
        inflated = SCVideoUNet.from_unet2d(weights.loaded(UNet2DConditionModel, "unet"))
        return weights.prepared(inflated.eval())

    def unet_config(self) -> Mapping[str, Any]:
        """Return the image model's configuration."""
        config: Mapping[str, Any] = self._unet.config.image_unet
        return config

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the UNet; the timestep may also be one for each latent, (B,)."""
        self._attention.attend_to(texts["states"])
        output: Tensor = self._unet(sample, timestep, texts["states"])
        return output


def load(weights: Weights) -> SCVideoBackbone:
    """Load the family."""
    return SCVideoBackbone(weights)
