"""Frames as people and files have them, uint8 arrays, and video as models have it, float tensors.

What does not belong here: decoding and encoding files (`video`) and latents.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onaspr_core.media.video import Frames


def fit_frames(frames: Frames, count: int, height: int, width: int) -> tuple[Frames, int]:
    """Bring a clip to a model's frame count and size.

    The first `count` frames are kept; a shorter clip repeats its last one. Frames are cropped at the centre
    to the model's aspect ratio and resized (bicubic, antialiased); a clip that fits already keeps its pixels.

    Args:
        frames: uint8 (F, H, W, 3), F ≥ 1.
        count: Frames of the result.
        height: Pixels.
        width: Pixels.

    Returns:
        The frames, uint8 (count, height, width, 3), and how many of them are repetitions.
    """
    repeated = max(0, count - len(frames))
    kept = frames[:count]
    if kept.shape[1:3] != (height, width):
        kept = np.stack([_fit(Image.fromarray(frame), height, width) for frame in kept])
    return np.concatenate([kept, np.repeat(kept[-1:], repeated, axis=0)]), repeated


def _fit(image: Image.Image, height: int, width: int) -> Frames:
    scale = min(image.width / width, image.height / height)
    kept_width, kept_height = round(scale * width), round(scale * height)
    left, top = (image.width - kept_width) // 2, (image.height - kept_height) // 2
    cropped = image.crop((left, top, left + kept_width, top + kept_height))
    return np.asarray(cropped.resize((width, height), Image.Resampling.BICUBIC))


def to_video(clips: list[Frames]) -> Tensor:
    """Stack clips of one shape into a video batch: uint8 (F, H, W, 3) each to (B, 3, F, H, W) in [−1, 1]."""
    return torch.from_numpy(np.stack(clips)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_frames(video: Tensor) -> list[Frames]:
    """Turn a video batch (B, 3, F, H, W) in [−1, 1] into one uint8 (F, H, W, 3) array each, rounded."""
    pixels = ((video.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 4, 1).cpu().numpy())
