"""Stable Diffusion of a few thousand random weights, as it lies on disk; what SCVideo is inflated from."""

import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from onaspr_core.backbones.scvideo_unet import SCVideoUNet
from tests.tiny_models import _randomise, save_tiny_text_to_video


def tiny_image_unet() -> Any:
    """A UNet of Stable Diffusion's block types, all weights from a seed."""
    torch.manual_seed(0)
    unet: Any = UNet2DConditionModel(
        sample_size=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    return _randomise(unet, 0).eval()


def save_tiny_stable_diffusion(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Save unet, vae, text encoder, tokenizer and scheduler; 16 × 16 pixels become 4 × 4 latents."""
    save_tiny_text_to_video(folder, prediction_type)
    shutil.rmtree(folder / "unet")
    tiny_image_unet().save_pretrained(folder / "unet")
    return folder


def save_tiny_scvideo(folder: Path) -> Path:
    """Save the same with an SCVideoUNet whose inserted modules do something."""
    save_tiny_stable_diffusion(folder)
    shutil.rmtree(folder / "unet")
    unet: Any = SCVideoUNet.from_unet2d(tiny_image_unet())
    for seed, module in enumerate(unet.inserted()):
        _randomise(module, seed)
    unet.save_pretrained(folder / "unet")
    return folder
