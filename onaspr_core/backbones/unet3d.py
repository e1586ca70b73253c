"""The ModelScope family (and ZeroScope): UNet3DConditionModel, AutoencoderKL per frame, CLIP text encoder.

Loaded by component in diffusers' and transformers' own on-disk format, not through the deprecated
TextToVideoSDPipeline, whose results it equals.
"""

from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones import text_attention
from onaspr_core.backbones.base import DiffusionBackbone, Texts
from onaspr_core.backbones.clip_text import token_ids
from onaspr_core.backbones.frames import FrameAutoencoder
from onaspr_core.backbones.weights import Weights, fit


class UNet3DBackbone(DiffusionBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def __init__(self, weights: Weights) -> None:
        """Load the components.

        Raises:
            UserError: when the autoencoder cannot make frames of that size, or for a prediction type that
                the solvers do not know.
        """
        self._tokenizer = weights.tokenizer(CLIPTokenizer)
        self._text_encoder = weights.model(CLIPTextModel, "text_encoder")
        self._unet = weights.denoiser(UNet3DConditionModel)
        self._frames = FrameAutoencoder(weights.autoencoder(AutoencoderKL), weights.device)
        shape = fit(weights.video_shape, self._frames.factor)
        super().__init__(weights, (int(self._unet.config.in_channels), *shape), weights.scheduler_config())
        self._attention = text_attention.install(self._unet)

    def encode(self, video: Tensor) -> Tensor:
        """Encode frame by frame: (B, 3, F, H, W) in [−1, 1] to (B, C, F, h, w) float32."""
        return self._frames.encode(video)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode frame by frame: (B, C, F, h, w) to (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        return self._frames.decode(latents)

    def encode_text(self, text: str) -> Texts:
        """Return the encoder's last hidden states, (1, length, width)."""
        ids = token_ids(self._tokenizer, self._text_encoder, text)
        return {"states": self._text_encoder(ids.to(self.weights.device))[0]}

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the UNet."""
        self._attention.attend_to(texts["states"])
        output: Tensor = self._unet(
            sample, timestep, encoder_hidden_states=texts["states"], return_dict=False
        )[0]
        return output


def load(weights: Weights) -> UNet3DBackbone:
    """Load the family."""
    return UNet3DBackbone(weights)
