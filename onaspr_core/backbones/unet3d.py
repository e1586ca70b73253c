"""The ModelScope family: a UNet3DConditionModel, a per-frame AutoencoderKL and a CLIP text encoder.

Loaded by component in diffusers' and transformers' own on-disk format, not through the deprecated
TextToVideoSDPipeline, whose results it equals. Stepping and noise belong to `onaspr_core.diffusion`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones import text_attention
from onaspr_core.diffusion.levels import NoiseLevels, levels_from_config
from onaspr_core.diffusion.solvers import PREDICTION_TYPES
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings

PIXELS_PER_CALL = 2**22
"""The autoencoder sees at most this many pixels at once, 64 frames of 256 × 256."""


@dataclass(frozen=True)
class TextConditioning:
    """Hidden states of the text encoder.

    prompts: (B, length, width). guided: (2·B, length, width), B times the empty prompt and then the prompts.
    """

    prompts: Tensor
    guided: Tensor


class UNet3DBackbone:
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do."""

    def __init__(
        self,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler_config: Mapping[str, Any],
        video_shape: tuple[int, int, int],
        fingerprint: str,
    ) -> None:
        """Take loaded models, all on one device and of one dtype.

        Raises:
            UserError: when the autoencoder cannot make frames of that size, or for a prediction type that
                the solvers do not know.
        """
        self.fingerprint = fingerprint
        self.video_shape = video_shape
        # Asked once: diffusers walks all parameters for each answer, which costs a twentieth of a small step.
        self._device, self._dtype = unet.device, unet.dtype
        self.device = str(self._device.type)
        self.prediction_type = str(scheduler_config.get("prediction_type", "epsilon"))
        if self.prediction_type not in PREDICTION_TYPES:
            raise UserError(
                f"the model's scheduler says prediction_type = {self.prediction_type!r}; "
                f"known: {', '.join(PREDICTION_TYPES)}"
            )
        frames, height, width = video_shape
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        if height % factor or width % factor:
            raise UserError(
                f"frames of {height} × {width}: the model needs multiples of {factor}; change the settings"
            )
        self.latent_shape = (int(unet.config.in_channels), frames, height // factor, width // factor)
        self._unet, self._vae, self._text_encoder, self._tokenizer = unet, vae, text_encoder, tokenizer
        self._scheduler_config = dict(scheduler_config)
        self._scaling = float(vae.config.scaling_factor)
        self._attention = text_attention.install(unet)
        self._timesteps: Tensor | None = None
        self._empty: Tensor | None = None

    def encode_prompts(self, prompts: Sequence[str]) -> TextConditioning:
        """Encode prompts; the empty prompt that guidance needs is encoded once for all batches."""
        if self._empty is None:
            self._empty = self._hidden_states([""])
        states = self._hidden_states(list(prompts))
        return TextConditioning(states, torch.cat([self._empty.expand_as(states), states]))

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Encode frame by frame: (B, 3, F, H, W) in [−1, 1] to (B, C, F, h, w) float32."""
        return self._per_frame(
            video, lambda frames: self._vae.encode(frames).latent_dist.mode() * self._scaling
        )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode frame by frame: (B, C, F, h, w) to (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        return self._per_frame(
            latents, lambda frames: self._vae.decode(frames / self._scaling).sample
        ).clamp_(-1, 1)

    def levels(self, steps: int) -> NoiseLevels:
        """Build the grid of the model's scheduler configuration and keep its timesteps on the device."""
        levels = levels_from_config(self._scheduler_config, steps)
        self._timesteps = torch.as_tensor(levels.timesteps, device=self._device)
        return levels

    @torch.no_grad()
    def predict(
        self, z: Tensor, level_index: int, conditioning: TextConditioning, guidance: float | None = None
    ) -> Tensor:
        """Ask the UNet once, with guidance as one batch of 2·B; guidance is applied in z's own dtype.

        Raises:
            UserError: when no grid has been prepared.
        """
        if self._timesteps is None:
            raise UserError(
                "predict was called before levels: the backbone does not know which grid it is on"
            )
        guided = guidance is not None and guidance > 1
        text = conditioning.guided if guided else conditioning.prompts
        self._attention.attend_to(text)
        sample = z.to(self._device, self._dtype)
        with torch.inference_mode():
            output: Tensor = self._unet(
                torch.cat([sample, sample]) if guided else sample,
                self._timesteps[level_index],
                encoder_hidden_states=text,
                return_dict=False,
            )[0]
        # Tensors made in inference mode refuse to be written to: what is returned is made outside of it.
        if guidance is None or not guided:
            return output.to(z.device, z.dtype, copy=True)
        unconditional, conditional = output.to(z.device, z.dtype).chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    @torch.inference_mode()
    def _hidden_states(self, prompts: list[str]) -> Tensor:
        tokens = self._tokenizer(
            prompts,
            padding="max_length",
            max_length=min(
                self._tokenizer.model_max_length, self._text_encoder.config.max_position_embeddings
            ),
            truncation=True,
            return_tensors="pt",
        )
        states: Tensor = self._text_encoder(tokens.input_ids.to(self._text_encoder.device))[0]
        return states.to(self._dtype)

    def _per_frame(self, videos: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an image model to every frame of (B, c, F, y, x), a bounded number of frames at a time."""
        batch, _, frames = videos.shape[:3]
        images = videos.to(self._vae.device, self._vae.dtype).transpose(1, 2).flatten(0, 1)
        height, width = self.video_shape[1:]
        per_call = max(1, PIXELS_PER_CALL // (height * width))
        with torch.inference_mode():
            parts = [apply(chunk).float() for chunk in images.split(per_call)]
        results = torch.cat(parts)
        return results.reshape(batch, frames, *results.shape[1:]).transpose(1, 2).contiguous()


def load(location: str, settings: BackboneSettings, fingerprint: str) -> UNet3DBackbone:
    """Load the components from a folder or hub id; weights stored as fp16 are brought to the settings' dtype.

    Raises:
        UserError: when a component cannot be loaded, the device is not there, or the shape does not fit.
    """
    dtype = getattr(torch, settings.dtype)
    device = _device(settings.device)

    def component(model: Any, name: str) -> Any:
        loaded = model.from_pretrained(
            location,
            subfolder=name,
            torch_dtype=dtype,
            use_safetensors=True,
            variant=_variant(location, name),
        )
        return loaded.to(device).eval()

    try:
        return UNet3DBackbone(
            component(UNet3DConditionModel, "unet"),
            component(AutoencoderKL, "vae"),
            component(CLIPTextModel, "text_encoder"),
            CLIPTokenizer.from_pretrained(location, subfolder="tokenizer"),
            _scheduler_config(location),
            (settings.frames, settings.height, settings.width),
            fingerprint,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise UserError(
            f"backbone {settings.path!r} cannot be loaded from {location}: {problem}. Give a folder that "
            "diffusers saved or a hub id that this machine can reach"
        ) from problem


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as problem:
        raise UserError(f'device = {name!r} cannot be used here: {problem}; use "auto" or "cpu"') from problem
    return device


def _variant(location: str, name: str) -> str | None:
    """Return "fp16" where a local component holds nothing but half-precision files."""
    files = [file.name for file in Path(location, name).glob("*.safetensors")]
    return "fp16" if files and all(".fp16." in file for file in files) else None


def _scheduler_config(location: str) -> Mapping[str, Any]:
    local = Path(location, "scheduler", "scheduler_config.json")
    if local.is_file():
        config: dict[str, Any] = json.loads(local.read_text(encoding="utf-8"))
        return config
    return dict(DDIMScheduler.load_config(location, subfolder="scheduler"))
