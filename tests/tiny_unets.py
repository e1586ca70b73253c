"""Tiny Stable Diffusion, SDXL and AnimateDiff models of random weights, in the form they have on disk."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    MotionAdapter,
    PNDMScheduler,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.tiny_models import randomise, save_tiny_text_to_video

SCHEDULE: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
UNET: dict[str, Any] = {
    "sample_size": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
}


def tiny_image_unet(seed: int) -> Any:
    """A UNet of Stable Diffusion's block types, all weights from a seed."""
    torch.manual_seed(seed)
    unet: Any = UNet2DConditionModel(**UNET, cross_attention_dim=16)
    return randomise(unet, seed).eval()


def save_tiny_stable_diffusion(folder: Path) -> Path:
    """Save what a Stable Diffusion 1.5 folder holds; 16 × 16 pixels become 4 × 4 latents."""
    save_tiny_text_to_video(folder)
    _replace(tiny_image_unet(3), folder / "unet")
    scheduler: Any = PNDMScheduler(**SCHEDULE, skip_prk_steps=True, set_alpha_to_one=False)
    scheduler.save_pretrained(folder / "scheduler")
    # As in the published model; PNDMScheduler itself does not know the key.
    _set(folder / "scheduler" / "scheduler_config.json", clip_sample=False)
    return folder


def save_tiny_sdxl(folder: Path, *, zeros_for_empty: bool = True) -> Path:
    """Save what an SDXL base folder holds: text 16 and 24 wide, the second projected to 20."""
    save_tiny_text_to_video(folder)
    unet: Any = UNet2DConditionModel(
        **UNET,
        cross_attention_dim=40,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=20 + 6 * 4,
    )
    _replace(randomise(unet, 4), folder / "unet")
    second = CLIPTextConfig(
        vocab_size=54,
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_dim=20,
        hidden_act="gelu",
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    encoder: Any = randomise(CLIPTextModelWithProjection(second), 5)
    encoder.save_pretrained(folder / "text_encoder_2")
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
    _set(folder / "tokenizer_2" / "tokenizer_config.json", pad_token="a")
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    vae.register_to_config(force_upcast=True, scaling_factor=0.13025)
    _replace(vae, folder / "vae")
    scheduler: Any = EulerDiscreteScheduler(**SCHEDULE)
    scheduler.save_pretrained(folder / "scheduler")
    _set(folder / "scheduler" / "scheduler_config.json", clip_sample=False, set_alpha_to_one=False)
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": zeros_for_empty}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def save_tiny_motion_adapter(folder: Path, longest: int = 6) -> Path:
    """Save motion modules for the tiny Stable Diffusion, for at most so many frames."""
    adapter = MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
        motion_max_seq_length=longest,
    )
    made: Any = randomise(cast(torch.nn.Module, adapter), 6)
    made.save_pretrained(folder)
    return folder


def _replace(model: Any, folder: Path) -> None:
    shutil.rmtree(folder)
    model.save_pretrained(folder)


def _set(file: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
