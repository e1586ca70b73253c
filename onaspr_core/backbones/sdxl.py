"""Stable Diffusion XL, the base model: as Stable Diffusion, with two text encoders and the size of the image.

Results equal those of diffusers' StableDiffusionXLPipeline with a DDIM scheduler and no watermark.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from onaspr_core.backbones.base import Texts
from onaspr_core.backbones.stable_diffusion import StableDiffusionBackbone
from onaspr_core.backbones.weights import Weights


class SDXLBackbone(StableDiffusionBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    encoders: ClassVar[Mapping[str, Any]] = {"": CLIPTextModel, "_2": CLIPTextModelWithProjection}
    extra_inputs: ClassVar[Mapping[str, Any]] = {"addition_embed_type": "text_time"}

    def __init__(self, weights: Weights) -> None:
        """Load the components."""
        super().__init__(weights)
        self._empty_is_zero = bool(weights.pipeline_config().get("force_zeros_for_empty_prompt", True))
        _, height, width = self.video_shape
        # Original size, corner of the crop, and target size: an image that is neither scaled nor cropped.
        size = [height, width, 0, 0, height, width]
        self._size = torch.tensor([size], dtype=weights.dtype, device=weights.device)

    def load_autoencoder(self, weights: Weights) -> Any:
        """Load the autoencoder, which overflows in float16 unless it is one that was mended."""
        return weights.autoencoder(AutoencoderKL, upcast=True)

    def encode_text(self, text: str) -> Texts:
        """Return both encoders' last but one hidden states side by side, and the pooled text of the second.

        They are (1, length, width) and (1, width), and zeros for the empty text where the model was trained
        with zeros.
        """
        first, second = self.read(text, output_hidden_states=True)
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        texts = {"states": states, "pooled": second.text_embeds}
        if not text and self._empty_is_zero:
            return {name: torch.zeros_like(tensor) for name, tensor in texts.items()}
        return texts

    def extra(self, texts: Texts) -> dict[str, Any]:
        """Return the pooled texts, and the size of the image for each of them."""
        sizes = self._size.expand(len(texts["pooled"]), -1)
        return {"added_cond_kwargs": {"text_embeds": texts["pooled"], "time_ids": sizes}}


def load(weights: Weights) -> SDXLBackbone:
    """Load the family."""
    return SDXLBackbone(weights)
