"""What the denoising and inversion loops cost beyond their model calls.

The time spent inside the model is summed within the same loop, so both sides see the same machine.
Bar: the loop takes at most 1.03 times the sum of its model calls.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import torch
from _timing import print_table, verdict
from torch import Tensor

from onaspr_core.backbones.protocol import Backbone
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.diffusion.noise import random_noise
from onaspr_core.diffusion.solvers import denoise, invert
from onaspr_core.settings import BackboneSettings

BAR = 1.03
PROMPT = "a red circle moves right on a blue background"


def measure(backbone: Backbone, walk: str, batch: int, steps: int, guidance: float) -> tuple[float, float]:
    """Return the seconds of one walk and of the model calls within it."""
    levels = backbone.levels(steps)
    conditioning = backbone.encode_prompts([PROMPT] * batch)
    z = random_noise((batch, *backbone.latent_shape), seed=0, prompt_id=walk, sample_index=0)
    z = z.to(backbone.device)
    inside = 0.0

    def predict(z: Tensor, level: int) -> Tensor:
        nonlocal inside
        started = time.perf_counter()
        prediction = backbone.predict(z, level, conditioning, guidance if walk == "denoise" else None)
        if backbone.device.startswith("cuda"):
            torch.cuda.synchronize()
        inside += time.perf_counter() - started
        return prediction

    started = time.perf_counter()
    (denoise if walk == "denoise" else invert)(predict, z, levels, backbone.prediction_type)
    return time.perf_counter() - started, inside


def main() -> None:
    """Measure both walks at two batch sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="package:onaspr_core/miniature/weights/text-to-video")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    settings = BackboneSettings(family="modelscope", path=arguments.model, frames=8, height=32, width=32)
    backbone = load_backbone(settings, Path.cwd())
    rows = []
    for walk in ("denoise", "invert"):
        for batch in (1, 8):
            measure(backbone, walk, batch, 2, 4.0)
            runs = [
                measure(backbone, walk, batch, arguments.steps, 4.0) for _ in range(arguments.repetitions)
            ]
            ratio = median(total / inside for total, inside in runs)
            total, inside = (median(column) for column in zip(*runs, strict=True))
            rows.append(
                [walk, str(batch), f"{total:.3f}", f"{inside:.3f}", f"{ratio:.4f}", verdict(ratio, BAR)]
            )
    print(f"{arguments.steps} steps on {backbone.device}, medians of {arguments.repetitions}")
    print_table(["loop", "batch", "loop s", "model calls s", "ratio", "bar"], rows)


if __name__ == "__main__":
    main()
