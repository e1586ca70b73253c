"""What SCVideo is inflated from, and an SCVideo, of a few thousand random weights as they lie on disk."""

import shutil
from pathlib import Path
from typing import Any

from onaspr_core.backbones.scvideo_unet import SCVideoUNet
from tests.tiny_models import randomise, save_tiny_text_to_video
from tests.tiny_unets import tiny_image_unet


def save_tiny_image_model(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Save a Stable Diffusion that predicts this; 16 × 16 pixels become 4 × 4 latents."""
    save_tiny_text_to_video(folder, prediction_type)
    shutil.rmtree(folder / "unet")
    tiny_image_unet(0).save_pretrained(folder / "unet")
    return folder


def save_tiny_scvideo(folder: Path) -> Path:
    """Save the same with an SCVideoUNet whose inserted modules do something."""
    save_tiny_image_model(folder)
    shutil.rmtree(folder / "unet")
    unet: Any = SCVideoUNet.from_unet2d(tiny_image_unet(0))
    for seed, module in enumerate(unet.inserted()):
        randomise(module, seed)
    unet.save_pretrained(folder / "unet")
    return folder
