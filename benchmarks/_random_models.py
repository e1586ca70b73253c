"""Models of every family in the form that they have on disk, with the published blocks but narrow.

Weights are random. Tokenizers know letters. Schedulers are first-order and deterministic, as the solvers are:
a published folder may name another one, which takes other steps.
"""

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
import transformers
from torch import Tensor

from onaspr_core.settings import BackboneSettings

MOTION = "motion"
"""Where the motion adapter lies, beside the components that AnimateDiff shares with Stable Diffusion."""

_BLOCKS = (32, 64, 128, 128)
_TEXT: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4}
_BETAS: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


class Family(NamedTuple):
    """One family: how its folder is saved, the video that it makes, and diffusers' pipeline for it.

    `into` turns latents (B, C, T, h, w) into what the pipeline takes, and `back` what it gives into those.
    """

    save: Callable[[Path], None]
    pipeline: Callable[[Path], Any] | None
    frames: int
    size: int
    into: Callable[[Tensor], Tensor] = lambda latents: latents
    back: Callable[[Tensor], Tensor] = lambda latents: latents


def settings_of(name: str, folder: Path) -> BackboneSettings:
    """Return the settings of a family's folder."""
    family = FAMILIES[name]
    return BackboneSettings.model_validate(
        {
            "family": name,
            "path": str(folder),
            "frames": family.frames,
            **{"height": family.size, "width": family.size},
            **({"motion_adapter": str(folder / MOTION)} if name == "animatediff" else {}),
        }
    )


def _ready(model: Any) -> Any:
    """Give the layers that start at zero a value: without one they would hide what their inputs were."""
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model.eval()


def _clip_tokenizer() -> Any:
    characters = (*string.ascii_lowercase, *string.digits)
    words = ["<|startoftext|>", "<|endoftext|>", *characters, *(f"{letter}</w>" for letter in characters)]
    vocab = {word: index for index, word in enumerate(words)}
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _clip_text(kind: Any, **changes: Any) -> Any:
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = {**_TEXT, "vocab_size": 74, "num_hidden_layers": 4, **ids, **changes}
    return _ready(kind(transformers.CLIPTextConfig(**config)))


def _image_vae(**changes: Any) -> Any:
    kind: Any = diffusers.AutoencoderKL
    return _ready(
        kind(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(16, 32, 64, 64),
            layers_per_block=2,
            norm_num_groups=16,
            **changes,
        )
    )


def _ddim() -> Any:
    kind: Any = diffusers.DDIMScheduler
    return kind(**_BETAS, steps_offset=1, set_alpha_to_one=False, clip_sample=False)


def _save_modelscope(folder: Path) -> None:
    unet: Any = diffusers.UNet3DConditionModel
    pipeline: Any = diffusers.TextToVideoSDPipeline
    pipeline(
        vae=_image_vae(),
        text_encoder=_clip_text(transformers.CLIPTextModel),
        tokenizer=_clip_tokenizer(),
        unet=_ready(unet(block_out_channels=_BLOCKS, cross_attention_dim=64, attention_head_dim=16)),
        scheduler=_ddim(),
    ).save_pretrained(folder)


def _save_stable_diffusion(folder: Path) -> None:
    unet: Any = diffusers.UNet2DConditionModel
    pipeline: Any = diffusers.StableDiffusionPipeline
    pipeline(
        vae=_image_vae(),
        text_encoder=_clip_text(transformers.CLIPTextModel),
        tokenizer=_clip_tokenizer(),
        unet=_ready(unet(block_out_channels=_BLOCKS, cross_attention_dim=64, attention_head_dim=8)),
        scheduler=_ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def _save_animatediff(folder: Path) -> None:
    _save_stable_diffusion(folder)
    adapter: Any = diffusers.MotionAdapter
    _ready(adapter(block_out_channels=_BLOCKS)).save_pretrained(folder / MOTION)


def _save_sdxl(folder: Path) -> None:
    unet: Any = diffusers.UNet2DConditionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=_BLOCKS[:3],
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(1, 2, 4),
        use_linear_projection=True,
        cross_attention_dim=64 + 96,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96 + 6 * 32,
    )
    pipeline: Any = diffusers.StableDiffusionXLPipeline
    pipeline(
        vae=_image_vae(force_upcast=True, scaling_factor=0.13025),
        text_encoder=_clip_text(transformers.CLIPTextModel),
        text_encoder_2=_clip_text(
            transformers.CLIPTextModelWithProjection, hidden_size=96, projection_dim=96
        ),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=_ready(unet),
        scheduler=_ddim(),
        add_watermarker=False,
    ).save_pretrained(folder)


def _t5(kind: Any, config: Any) -> dict[str, Any]:
    """A text encoder of T5's kind, and a tokenizer that knows letters."""
    characters = (*string.ascii_lowercase, *string.digits)
    pieces = ["<pad>", "</s>", "<unk>", "▁", *characters, *(f"▁{letter}" for letter in characters)]
    width = {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 4, "num_heads": 4}
    model = kind(config(**width, vocab_size=len(pieces), feed_forward_proj="gated-gelu"))
    vocab = [(piece, -float(index)) for index, piece in enumerate(pieces)]
    tokenizer = transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)
    return {"text_encoder": _ready(model), "tokenizer": tokenizer}


def _save_cogvideox(folder: Path) -> None:
    """As the 5B, with the DDIM scheduler of the 2B."""
    transformer: Any = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=64,
        num_layers=4,
        time_embed_dim=64,
        text_embed_dim=64,
        use_rotary_positional_embeddings=True,
    )
    vae: Any = diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(16, 16, 32, 32),
        norm_num_groups=8,
        latent_channels=16,
        layers_per_block=3,
        scaling_factor=0.7,
    )
    scheduler: Any = diffusers.CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
        clip_sample=False,
    )
    pipeline: Any = diffusers.CogVideoXPipeline
    pipeline(
        **_t5(transformers.T5EncoderModel, transformers.T5Config),
        vae=_ready(vae),
        transformer=_ready(transformer),
        scheduler=scheduler,
    ).save_pretrained(folder)


def _save_wan(folder: Path) -> None:
    transformer: Any = diffusers.WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=64, num_layers=4, text_dim=64, ffn_dim=1024
    )
    scheduler: Any = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    vae: Any = diffusers.AutoencoderKLWan(base_dim=8)
    pipeline: Any = diffusers.WanPipeline
    pipeline(
        **_t5(transformers.UMT5EncoderModel, transformers.UMT5Config),
        vae=_ready(vae),
        transformer=_ready(transformer),
        scheduler=scheduler,
    ).save_pretrained(folder)


def _pipeline(kind: Any, **options: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def load(folder: Path) -> Any:
        others = {name: option(folder) for name, option in options.items()}
        return kind.from_pretrained(folder, **others)

    return load


def _linear_betas(folder: Path) -> Any:
    kind: Any = diffusers.DDIMScheduler
    return kind.from_pretrained(folder / "scheduler", beta_schedule="linear")


def _motion_adapter(folder: Path) -> Any:
    kind: Any = diffusers.MotionAdapter
    return kind.from_pretrained(folder / MOTION)


def _one_frame(latents: Tensor) -> Tensor:
    return latents.squeeze(2)


def _frames_first(latents: Tensor) -> Tensor:
    return latents.transpose(1, 2)


def _as_video(latents: Tensor) -> Tensor:
    return latents.unsqueeze(2)


FAMILIES: Mapping[str, Family] = {
    "modelscope": Family(_save_modelscope, _pipeline(diffusers.TextToVideoSDPipeline), 4, 128),
    "scvideo": Family(_save_stable_diffusion, None, 4, 128),
    "animatediff": Family(
        _save_animatediff,
        _pipeline(diffusers.AnimateDiffPipeline, scheduler=_linear_betas, motion_adapter=_motion_adapter),
        4,
        128,
    ),
    "cogvideox": Family(
        _save_cogvideox, _pipeline(diffusers.CogVideoXPipeline), 9, 128, _frames_first, _frames_first
    ),
    "wan": Family(_save_wan, _pipeline(diffusers.WanPipeline), 9, 128),
    "stable-diffusion-1.5": Family(
        _save_stable_diffusion, _pipeline(diffusers.StableDiffusionPipeline), 1, 192, _one_frame, _as_video
    ),
    "sdxl": Family(_save_sdxl, _pipeline(diffusers.StableDiffusionXLPipeline), 1, 256, _one_frame, _as_video),
}
