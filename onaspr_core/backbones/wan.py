"""The Wan 2.1 family: WanTransformer3DModel, AutoencoderKLWan, UMT5 text encoder, flow matching."""

import html
import json
from pathlib import Path

import torch
import torch.nn.functional as functional
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor
from transformers import UMT5EncoderModel

from onaspr_core.backbones.base import DiffusionBackbone, Texts
from onaspr_core.backbones.clips import ClipAutoencoder, channels
from onaspr_core.backbones.weights import Weights, fit
from onaspr_core.diffusion.flow_levels import flow_levels_from_config
from onaspr_core.diffusion.levels import NoiseLevels
from onaspr_core.errors import UserError

TEXT_LENGTH = 512
"""So many tokens of a text are read, and so many states the transformer attends to."""

OF_WAN_2_2 = ("transformer_2", "boundary_ratio", "expand_timesteps")


class WanBackbone(DiffusionBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def __init__(self, weights: Weights) -> None:
        """Load the components; the autoencoder in float32, as its makers use it.

        Raises:
            UserError: for a video shape that the model cannot make, an image-to-video model, or Wan 2.2.
        """
        _refuse_wan_2_2(weights.files.folder / "model_index.json")
        self._tokenizer = weights.t5_tokenizer()
        self._text_encoder = weights.model(UMT5EncoderModel, "text_encoder")
        self._transformer = weights.denoiser(WanTransformer3DModel, "transformer")
        vae = weights.autoencoder(AutoencoderKLWan, dtype=torch.float32)
        made = vae.config
        self._clips = ClipAutoencoder(vae, weights.device, made.latents_mean, made.latents_std)
        patch = int(self._transformer.config.patch_size[-1])
        frames, rows, columns = fit(
            weights.video_shape, made.scale_factor_spatial * patch, made.scale_factor_temporal
        )
        count = channels(self._transformer.config.in_channels, made.z_dim)
        shape = (count, frames, rows * patch, columns * patch)
        super().__init__(weights, shape, weights.scheduler_config(), "flow")

    def encode(self, video: Tensor) -> Tensor:
        """Encode clip by clip: (B, 3, F, H, W) in [−1, 1] to (B, C, T, h, w) float32."""
        return self._clips.encode(video)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode clip by clip: (B, C, T, h, w) to (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        return self._clips.decode(latents)

    def encode_text(self, text: str) -> Texts:
        """Return the encoder's last hidden states of the text, then zeros: (1, TEXT_LENGTH, width)."""
        cleaned = " ".join(html.unescape(html.unescape(text)).split())
        ids = self._tokenizer(
            [cleaned], max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        states = self._text_encoder(ids.to(self.weights.device))[0]
        return {"states": functional.pad(states, (0, 0, 0, TEXT_LENGTH - states.shape[1]))}

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the transformer."""
        output: Tensor = self._transformer(
            hidden_states=sample,
            timestep=timestep.expand(len(sample)),
            encoder_hidden_states=texts["states"],
            return_dict=False,
        )[0]
        return output

    def grid(self, steps: int) -> NoiseLevels:
        """Return the grid of the flow that the scheduler's configuration describes."""
        return flow_levels_from_config(self.scheduler_config, steps)


def load(weights: Weights) -> WanBackbone:
    """Load the family."""
    return WanBackbone(weights)


def _refuse_wan_2_2(index: Path) -> None:
    told = json.loads(index.read_text(encoding="utf-8"))
    found = [key for key in OF_WAN_2_2 if told.get(key) not in (None, False, [None, None])]
    if found:
        raise UserError(
            f"{index} has {', '.join(found)}: a Wan 2.2 model, which family wan does not know; name a "
            "text-to-video model of Wan 2.1"
        )
