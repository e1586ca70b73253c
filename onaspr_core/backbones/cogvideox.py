"""The CogVideoX family, 1.0 and 1.5: CogVideoXTransformer3DModel, AutoencoderKLCogVideoX, T5 text encoder."""

from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor
from transformers import T5EncoderModel

from onaspr_core.backbones.base import DiffusionBackbone, Texts
from onaspr_core.backbones.clips import ClipAutoencoder, channels
from onaspr_core.backbones.weights import Weights, fit
from onaspr_core.diffusion.levels import NoiseLevels, levels_from_config, snr_shifted_alphas_cumprod
from onaspr_core.errors import UserError


class CogVideoXBackbone(DiffusionBackbone):
    """See `onaspr_core.backbones.protocol.Backbone` for what the methods do.

    The model has latents as (B, T, C, h, w). Where its patches span several latent frames (1.5), T is rounded
    up to a multiple of them: the first frame stands there more than once, as in training, and is decoded
    once.
    """

    def __init__(self, weights: Weights) -> None:
        """Load the components.

        Raises:
            UserError: for a video shape that the model cannot make, an image-to-video model, or a prediction
                type that the solvers do not know.
        """
        self._tokenizer = weights.t5_tokenizer()
        self._text_encoder = weights.model(T5EncoderModel, "text_encoder")
        self._transformer = weights.denoiser(CogVideoXTransformer3DModel, "transformer")
        vae = weights.autoencoder(AutoencoderKLCogVideoX)
        self._clips = ClipAutoencoder(vae, weights.device, [0.0], [1 / vae.config.scaling_factor])
        config = self._transformer.config
        # The autoencoder decodes latent frames by twos, and only an odd number of them back to F.
        pairs, rows, columns = fit(
            weights.video_shape,
            2 ** (len(vae.config.block_out_channels) - 1) * config.patch_size,
            2 * int(vae.config.temporal_compression_ratio),
        )
        frames = 2 * pairs - 1
        self._repeated = -frames % (config.patch_size_t or 1)
        shape = (frames + self._repeated, rows * config.patch_size, columns * config.patch_size)
        count = channels(config.in_channels, vae.config.latent_channels)
        super().__init__(weights, (count, *shape), weights.scheduler_config())
        self._rotary = self._rotary_embedding()

    def encode(self, video: Tensor) -> Tensor:
        """Encode clip by clip: (B, 3, F, H, W) in [−1, 1] to (B, C, T, h, w) float32."""
        latents = self._clips.encode(video)
        return torch.cat([latents[:, :, :1].expand(-1, -1, self._repeated, -1, -1), latents], dim=2)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode clip by clip: (B, C, T, h, w) to (B, 3, F, H, W) float32, clamped to [−1, 1]."""
        return self._clips.decode(latents[:, :, self._repeated :])

    def encode_text(self, text: str) -> Texts:
        """Return the encoder's last hidden states, (1, length, width), with those of the padding."""
        ids = self._tokenizer(
            [text],
            padding="max_length",
            max_length=self._transformer.config.max_text_seq_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return {"states": self._text_encoder(ids.to(self.weights.device))[0]}

    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the transformer."""
        output: Tensor = self._transformer(
            hidden_states=sample.transpose(1, 2),
            encoder_hidden_states=texts["states"],
            timestep=timestep.expand(len(sample)),
            image_rotary_emb=self._rotary,
            return_dict=False,
        )[0]
        return output.transpose(1, 2)

    def grid(self, steps: int) -> NoiseLevels:
        """Return the grid that CogVideoX's DDIM scheduler steps through, or that of a plain one."""
        config = self.scheduler_config
        if "snr_shift_scale" not in config and not str(config.get("_class_name")).startswith("CogVideoX"):
            return levels_from_config(config, steps)
        alphas = snr_shifted_alphas_cumprod(config)
        return levels_from_config(self.scheduler_config, steps, alphas)

    def _rotary_embedding(self) -> tuple[Tensor, Tensor] | None:
        """Return cosines and sines of the latent's places, (patches, width) each; None where they are added.

        Raises:
            UserError: for frames larger than the places that the model knows.
        """
        config = self._transformer.config
        if not config.use_rotary_positional_embeddings:
            return None
        _, frames, *size = self.latent_shape
        rows, columns = (values // config.patch_size for values in size)
        known = config.sample_height // config.patch_size, config.sample_width // config.patch_size
        places: dict[str, Any] = {
            "crops_coords": get_resize_crop_region_for_grid((rows, columns), known[1], known[0]),
            "temporal_size": frames,
        }
        if config.patch_size_t is not None:
            _, height, width = self.weights.video_shape
            if rows > known[0] or columns > known[1]:
                raise UserError(
                    f"frames of {height} × {width}: the model makes up to {height // rows * known[0]} × "
                    f"{width // columns * known[1]}; change the settings"
                )
            places = {
                "crops_coords": None,
                "temporal_size": frames // config.patch_size_t,
                "grid_type": "slice",
                "max_size": known,
            }
        rotary: Any = get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            grid_size=(rows, columns),
            device=self.weights.device,
            **places,
        )
        return rotary[0], rotary[1]


def load(weights: Weights) -> CogVideoXBackbone:
    """Load the family."""
    return CogVideoXBackbone(weights)
