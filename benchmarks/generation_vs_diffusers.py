"""Generation against diffusers' own TextToVideoSDPipeline: same weights, noise, prompts, steps and batch.

Both go from prompts and noise to uint8 frames in memory. Bar: at most 1.0 times the pipeline's time.
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _timing import interleaved, median_ratio, print_table, verdict
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones.protocol import Backbone
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.diffusion.noise import random_noise
from onaspr_core.frames import to_frames
from onaspr_core.paths import resolve
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import BackboneSettings
from onaspr_core.video import Frames

BAR = 1.0
PROMPTS = [
    "a red circle moves right on a blue background",
    "a small green square",
    "two shapes",
    "a ball falls",
]


def pipeline(folder: str, device: str) -> Any:
    """Load diffusers' pipeline from the same folder, with nothing shared but the files."""
    full: Any = {"torch_dtype": torch.float32}
    made: Any = TextToVideoSDPipeline(
        vae=AutoencoderKL.from_pretrained(folder, subfolder="vae", **full),
        text_encoder=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", **full),
        tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        unet=UNet3DConditionModel.from_pretrained(folder, subfolder="unet", **full),
        scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler", clip_sample=False),
    )
    made.set_progress_bar_config(disable=True)
    return made.to(device)


def contenders(
    backbone: Backbone, theirs: Any, noise: Tensor, prompts: list[str], steps: int, guidance: float
) -> dict[str, Callable[[], list[Frames]]]:
    """Return both ways from the same prompts and noise to frames."""
    frames, height, width = backbone.video_shape

    def ours() -> list[Frames]:
        latents = sample_latents(backbone, noise, prompts, steps=steps, guidance=guidance)
        return to_frames(backbone.decode(latents))

    def diffusers() -> list[Frames]:
        shape = {"num_frames": frames, "height": height, "width": width}
        made = theirs(
            prompts, latents=noise, num_inference_steps=steps, guidance_scale=guidance, **shape
        ).frames
        return [(video * 255).round().astype(np.uint8) for video in made]

    return {"diffusers pipeline": diffusers, "onaspr": ours}


def main() -> None:
    """Time both at two batch sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:onaspr_core/miniature/weights/text-to-video")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--repetitions", type=int, default=9)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    settings = BackboneSettings(family="modelscope", path=arguments.model, frames=8, height=32, width=32)
    backbone = load_backbone(settings, Path.cwd())
    theirs = pipeline(resolve(arguments.model, Path.cwd()), backbone.device)
    rows = []
    for batch in (1, 8):
        prompts = (PROMPTS * batch)[:batch]
        noise = random_noise((batch, *backbone.latent_shape), seed=0, prompt_id="bench", sample_index=0)
        noise = noise.to(backbone.device)
        runs = contenders(backbone, theirs, noise, prompts, arguments.steps, arguments.guidance)
        apart = max(
            int(np.abs(ours.astype(int) - other.astype(int)).max())
            for ours, other in zip(*(run() for run in runs.values()), strict=True)
        )
        seconds = interleaved(runs, arguments.repetitions)
        ratio = median_ratio(seconds["onaspr"], seconds["diffusers pipeline"])
        for name, taken in seconds.items():
            own = [f"{ratio:.3f}", verdict(ratio, BAR)] if name == "onaspr" else ["1", ""]
            rows.append([name, str(batch), f"{median(taken) / batch:.3f}", *own, str(apart)])
    print(
        f"{arguments.steps} steps, guidance {arguments.guidance:g}, on {backbone.device} with "
        f"{torch.get_num_threads()} threads, medians of {arguments.repetitions} interleaved repetitions"
    )
    print_table(["", "batch", "s per video", "ratio", "bar", "largest pixel difference"], rows)


if __name__ == "__main__":
    main()
