"""What families with a UNet share: CLIP text encoders, an image autoencoder for each frame, cross-attention.

What does not belong here: which UNet it is, and what one family alone does (a file for each).
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones import text_attention
from onaspr_core.backbones.base import DiffusionBackbone, Texts
from onaspr_core.backbones.clip_text import token_ids
from onaspr_core.backbones.frames import FrameAutoencoder
from onaspr_core.backbones.weights import Weights, fit
from onaspr_core.errors import UserError

EXTRA_INPUTS = (
    "addition_embed_type",
    "class_embed_type",
    "dual_cross_attention",
    "encoder_hid_dim_type",
    "num_class_embeds",
    "time_cond_proj_dim",
)
"""Keys of a UNet's configuration that make it read more than latents, a timestep and one text."""


class UNetBackbone(DiffusionBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the public methods do."""

    encoders: ClassVar[Mapping[str, Any]] = {"": CLIPTextModel}
    """Text encoders: by what their folder's and their tokenizer's names end with, their class."""

    extra_inputs: ClassVar[Mapping[str, Any]] = {}
    """Those of `EXTRA_INPUTS` that the family serves, each with the value that it must have."""

    def __init__(self, weights: Weights) -> None:
        """Load the components, in the order in which they are used.

        Raises:
            UserError: for a video shape or a prediction type that does not fit, and for a UNet that reads
                what the family does not give it.
        """
        self._encoders = [
            (weights.tokenizer(CLIPTokenizer, f"tokenizer{name}"), weights.model(kind, f"text_encoder{name}"))
            for name, kind in self.encoders.items()
        ]
        self._unet = self.load_unet(weights)
        self._refuse_other_inputs(weights)
        self._frames = FrameAutoencoder(self.load_autoencoder(weights), weights.device)
        shape = fit(weights.video_shape, self._frames.factor)
        config = self.noise_schedule(weights)
        super().__init__(weights, (int(self.unet_config()["in_channels"]), *shape), config)
        self._attention = text_attention.install(self._unet)

    @abstractmethod
    def load_unet(self, weights: Weights) -> Any:
        """Load the denoiser."""

    def unet_config(self) -> Mapping[str, Any]:
        """Return the configuration of what the denoiser is asked for."""
        config: Mapping[str, Any] = self._unet.config
        return config

    def load_autoencoder(self, weights: Weights) -> Any:
        """Load the autoencoder."""
        return weights.autoencoder(AutoencoderKL)

    def noise_schedule(self, weights: Weights) -> Mapping[str, Any]:
        """Return the scheduler's configuration that the model was trained with."""
        return weights.scheduler_config()

    def extra(self, texts: Texts) -> dict[str, Any]:
        """Return what else the UNet is called with."""
        return {}

    def encode(self, video: Tensor) -> Tensor:
        """Encode frame by frame: (B, 3, F, H, W) in [−1, 1] to (B, C, F, h, w) float32."""
        return self._frames.encode(video)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode frame by frame: (B, C, F, h, w) to (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        self._attention.forget()
        return self._frames.decode(latents)

    def encode_text(self, text: str) -> Texts:
        """Return the encoder's last hidden states, (1, length, width)."""
        return {"states": self.read(text)[0][0]}

    def read(self, text: str, **options: Any) -> list[Any]:
        """Return what each text encoder says about a text."""
        return [
            encoder(token_ids(tokenizer, encoder, text).to(self.weights.device), **options)
            for tokenizer, encoder in self._encoders
        ]

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the UNet; its cross-attention takes the text from `_attention`."""
        self._attention.attend_to(texts["states"])
        output: Tensor = self._unet(
            sample, timestep, encoder_hidden_states=texts["states"], return_dict=False, **self.extra(texts)
        )[0]
        return output

    def _refuse_other_inputs(self, weights: Weights) -> None:
        config, settings = self.unet_config(), weights.settings
        for key in EXTRA_INPUTS:
            found, expected = config.get(key) or None, self.extra_inputs.get(key)
            if found != expected:
                raise UserError(
                    f"backbone {settings.path!r}: its UNet has {key} = {found!r}, and family "
                    f"{settings.family} needs {expected!r}; choose another model or family"
                )
        read, written = config["in_channels"], config["out_channels"]
        if read != written:
            raise UserError(
                f"backbone {settings.path!r}: its UNet reads {read} channels and writes {written}, as models "
                "do that are given a picture; choose a model of text alone"
            )
