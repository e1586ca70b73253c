"""Every family of backbones: its loops against their model calls, and generation against diffusers' pipeline.

The models are random, of the published forms but narrow (`_random_models.py`): a call takes long enough to
be compared with. Bars: the loops of denoising (with guidance) and inversion (without) take at most 1.03 times
the sum of the model calls within them. From a prompt and noise to uint8 frames takes at most 1.0 times the
time of diffusers' own pipeline of that family, and at most 1.05 times the memory.

Memory is the peak of one generation above what is held after loading, each contender in a process of its own,
where freed blocks go back to the system at once. Every run has prompts of its own, so that no text is encoded
already. With guidance Wan's pipeline asks its model twice, once with each text; here it is one batch, as in
the other pipelines. diffusers has no pipeline of SCVideo: only its loops are measured.
"""

import argparse
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import diffusers
import numpy as np
import torch
import transformers
from _random_models import FAMILIES, settings_of
from _timing import forget_peak, interleaved, median_ratio, peak_mb, print_table, verdict
from torch import Tensor

from onaspr_core.backbones.base import DiffusionBackbone, Texts
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.diffusion.noise import random_noise
from onaspr_core.diffusion.solvers import denoise, invert
from onaspr_core.media.frames import to_frames
from onaspr_core.media.video import Frames
from onaspr_core.sampling import sample_latents

LOOP_BAR, TIME_BAR, MEMORY_BAR = 1.03, 1.0, 1.05
GUIDANCE = 4.0
OURS, THEIRS = "onaspr", "diffusers pipeline"
FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}

Generate = Callable[[Sequence[str], bool], Any]
"""From prompts to latents (B, C, T, h, w), or to one uint8 (F, H, W, 3) array each where the flag is set."""


def load(name: str, folder: Path) -> DiffusionBackbone:
    """Load a family's backbone."""
    backbone = load_backbone(settings_of(name, folder), Path())
    assert isinstance(backbone, DiffusionBackbone)
    return backbone


def noise_of(latent_shape: Sequence[int], batch: int) -> Tensor:
    """Return noise (B, C, T, h, w), always the same."""
    return random_noise((batch, *latent_shape), seed=0, prompt_id="bench", sample_index=0)


def new_prompts(batch: int) -> Iterator[list[str]]:
    """Yield prompts that did not come before."""
    for number in itertools.count():
        yield [f"a red circle moves right, take {number} of {place}" for place in range(batch)]


def ours(name: str, folder: Path, batch: int, steps: int) -> Generate:
    """Return generation with a family's backbone."""
    backbone = load(name, folder)
    noise = noise_of(backbone.latent_shape, batch)

    def generate(prompts: Sequence[str], decoded: bool) -> Any:
        latents = sample_latents(backbone, noise, prompts, steps=steps, guidance=GUIDANCE)
        return to_frames(backbone.decode(latents)) if decoded else latents.cpu()

    return generate


def theirs(name: str, folder: Path, latent_shape: Sequence[int], batch: int, steps: int) -> Generate:
    """Return generation with diffusers' pipeline of a family, of which only the files are shared."""
    family = FAMILIES[name]
    assert family.pipeline is not None
    pipeline = family.pipeline(folder).to("cuda" if torch.cuda.is_available() else "cpu")
    pipeline.set_progress_bar_config(disable=True)
    noise = family.into(noise_of(latent_shape, batch)).to(pipeline.device)
    images = family.frames == 1
    options: dict[str, Any] = {} if images else {"num_frames": family.frames}

    def generate(prompts: Sequence[str], decoded: bool) -> Any:
        made = pipeline(
            list(prompts),
            latents=noise,
            height=family.size,
            width=family.size,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            output_type="np" if decoded else "latent",
            **options,
        )
        result = made.images if images else made.frames
        if not decoded:
            return family.back(result).cpu()
        videos: list[Frames] = [(video * 255).round().astype(np.uint8) for video in result]
        return [video[None] for video in videos] if images else videos

    return generate


@contextmanager
def calls_timed(backbone: DiffusionBackbone) -> Iterator[list[float]]:
    """Collect the seconds of each call of the model."""
    seconds: list[float] = []
    ask = backbone.denoiser

    def timed(sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        started = time.perf_counter()
        output = ask(sample, timestep, texts)
        if backbone.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        return output

    with patch.object(backbone, "denoiser", timed):
        yield seconds


def loop(backbone: DiffusionBackbone, walk: str, batch: int, steps: int) -> tuple[float, list[float]]:
    """Return the seconds of one walk, and of each model call within it."""
    levels = backbone.levels(steps)
    conditioning = backbone.encode_prompts(["a red circle"] * batch)
    z = noise_of(backbone.latent_shape, batch).to(backbone.device)
    guidance = GUIDANCE if walk == "denoise" else None

    def predict(z: Tensor, level: int) -> Tensor:
        return backbone.predict(z, level, conditioning, guidance)

    with calls_timed(backbone) as inside:
        started = time.perf_counter()
        (denoise if walk == "denoise" else invert)(predict, z, levels, backbone.prediction_type)
        return time.perf_counter() - started, inside


def loops(name: str, folder: Path, chosen: argparse.Namespace) -> list[list[str]]:
    """Measure both walks of a family; return rows of a table."""
    backbone = load(name, folder)
    rows = []
    for walk in ("denoise", "invert"):
        loop(backbone, walk, chosen.batch, 2)
        runs = [loop(backbone, walk, chosen.batch, chosen.steps) for _ in range(chosen.repetitions)]
        ratio = median(total / sum(inside) for total, inside in runs)
        total, call = median(total for total, _ in runs), median(median(inside) for _, inside in runs)
        told = [f"{1000 * call:.0f}", f"{total:.3f}", f"{ratio:.4f}", verdict(ratio, LOOP_BAR)]
        rows.append([name, walk, *told])
    return rows


def generation(name: str, folder: Path, chosen: argparse.Namespace) -> list[list[str]]:
    """Compare generation with the family's pipeline in time, memory and latents; return rows of a table."""
    shape = load(name, folder).latent_shape
    size = chosen.batch, chosen.steps
    both = {THEIRS: theirs(name, folder, shape, *size), OURS: ours(name, folder, *size)}
    known = next(new_prompts(chosen.batch))
    expected, found = (generate(known, False) for generate in both.values())
    apart = float((found - expected).abs().max() / expected.abs().max().clamp(min=1))

    def run(generate: Generate, prompts: Iterator[list[str]]) -> Callable[[], object]:
        return lambda: generate(next(prompts), True)

    runs = {contender: run(generate, new_prompts(chosen.batch)) for contender, generate in both.items()}
    seconds = interleaved(runs, chosen.repetitions)
    memory = {contender: peak_of_process(name, folder, contender, shape, chosen) for contender in both}
    ratio = median_ratio(seconds[OURS], seconds[THEIRS])
    held = memory[OURS] / memory[THEIRS]
    told = {
        THEIRS: ["1", "", f"{memory[THEIRS]:.0f}", "1", "", ""],
        OURS: [
            *(f"{ratio:.3f}", verdict(ratio, TIME_BAR)),
            *(f"{memory[OURS]:.0f}", f"{held:.3f}", verdict(held, MEMORY_BAR)),
            f"{apart:.1e}",
        ],
    }
    return [[name, one, f"{median(seconds[one]):.3f}", *told[one]] for one in both]


def peak_of_process(
    name: str, folder: Path, contender: str, shape: Sequence[int], chosen: argparse.Namespace
) -> float:
    """Return the peak of one generation in a process of its own, in MB above what it held before."""
    command = [sys.executable, __file__, "--families", name, "--measure", contender, "--folder", str(folder)]
    command += ["--batch", str(chosen.batch), "--steps", str(chosen.steps), "--shape", json.dumps(shape)]
    environment = {**os.environ, **FREED_AT_ONCE}
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return float(printed.splitlines()[-1])


def measure(name: str, folder: Path, contender: str, shape: Sequence[int], batch: int, steps: int) -> float:
    """Return the peak of the first generation, in MB above what is held after loading."""
    generate = (
        ours(name, folder, batch, steps) if contender == OURS else theirs(name, folder, shape, batch, steps)
    )
    prompts = next(new_prompts(batch))
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        generate(prompts, True)
        return float(torch.cuda.max_memory_allocated() - before) / 1e6
    held = forget_peak()
    generate(prompts, True)
    return float(peak_mb() - held)


def main() -> None:
    """Save the models, measure them and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--measure", choices=[OURS, THEIRS], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    if chosen.measure:
        size = chosen.batch, chosen.steps
        print(measure(chosen.families[0], chosen.folder, chosen.measure, chosen.shape, *size))
        return
    walked, generated = [], []
    with tempfile.TemporaryDirectory() as root:
        for name in chosen.families:
            folder = Path(root) / name
            torch.manual_seed(0)
            FAMILIES[name].save(folder)
            walked += loops(name, folder, chosen)
            if FAMILIES[name].pipeline is not None:
                generated += generation(name, folder, chosen)
    print(
        f"{chosen.steps} steps, batch {chosen.batch}, guidance {GUIDANCE:g} but for inversion, with "
        f"{torch.get_num_threads()} threads, medians of {chosen.repetitions} interleaved repetitions"
    )
    print_table(["family", "loop", "ms a call", "loop s", "to its calls", "bar"], walked)
    print()
    header = ["family", "", "s", "ratio", "bar", "peak MB", "ratio", "bar", "latents apart"]
    print_table(header, generated)


if __name__ == "__main__":
    main()
