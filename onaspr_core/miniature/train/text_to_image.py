"""The miniature's image model: `UNet2DConditionModel` in Stable Diffusion's form, trained on single frames.

It shares autoencoder, schedule and text encoder with the video model; the text encoder stays as it is, as
Stable Diffusion's does. SCVideo is made from it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from onaspr_core.miniature.attributes import Scene
from onaspr_core.miniature.train.data import captions
from onaspr_core.miniature.train.fitting import Plan, fit, generators
from onaspr_core.miniature.train.text_to_video import EMPTY, TextToVideo, lesson
from onaspr_core.miniature.train.unet import unet_arguments

BATCH = 64


def plan(steps: int = 6000) -> Plan:
    """The training plan of this stage."""
    return Plan("text-to-image", steps=steps, rate=1.5e-3)


def build_unet(channels: tuple[int, int] = (32, 64)) -> Any:
    """A new UNet with heads of size 8; here `attention_head_dim` is how many there are, not how large."""
    return UNet2DConditionModel(
        **unet_arguments("2D", channels), attention_head_dim=tuple(count // 8 for count in channels)
    )


def train(
    unet: Any,
    video_model: TextToVideo,
    latents: Tensor,
    scenes: list[Scene],
    plan: Plan,
    folder: Path,
    seed: int,
    device: str,
) -> None:
    """Train on frames of cached latents (n, 4, F, h, w), with the trained video model's text encoder."""
    unet.to(device)
    video_model.to(device)

    def loss(step: int) -> Tensor:
        rng, noises = generators(seed, plan.name, step)
        rows = rng.integers(len(scenes), size=BATCH)
        frames = rng.integers(latents.shape[2], size=BATCH)
        clean = latents[torch.from_numpy(rows), :, torch.from_numpy(frames)]
        noisy, timesteps, target = lesson(clean, rng, noises)
        with torch.no_grad():
            condition = video_model.condition(captions([scenes[row] for row in rows], rng, EMPTY))
        predicted: Tensor = unet(noisy.to(device), timesteps.to(device), condition).sample
        return (predicted - target.to(device)).square().mean()

    fit(unet, loss, plan, folder)
