"""The command that trains everything: `python -m onaspr_core.miniature.train --out DIR`.

Every stage resumes from its checkpoint in DIR; a finished stage is only loaded. `--steps` moves the end of
one stage, and with it its decay, also for a run that is under way.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from onaspr_core.devices import chosen_device
from onaspr_core.errors import PlainError, UserError
from onaspr_core.miniature.train import (
    autoencoder,
    classifiers,
    export,
    image_text,
    quality,
    scvideo,
    text_to_image,
    text_to_video,
)
from onaspr_core.miniature.train.data import Clips, kept, rendered_clips
from onaspr_core.miniature.train.fitting import Plan, load_average, require_same_source, step_of
from onaspr_core.miniature.train.judging import STRIDES, Examples, decoded_clips
from onaspr_core.miniature.train.text import kept_tokenizer
from onaspr_core.paths import file_sha256, folder_fingerprint

CLIPS = 12_000
EXAMPLES = 4_000
POOL = 1_500


@dataclass(frozen=True)
class Job:
    """What the command line asked for."""

    out: Path
    weights: Path
    seed: int
    steps: int | None
    device: str

    def plan(self, default: Plan) -> Plan:
        """A stage's plan with the number of steps that was asked for."""
        return default if self.steps is None else replace(default, steps=self.steps)

    def clips(self) -> Clips:
        """The training clips, rendered once and kept in the output folder."""
        return rendered_clips(self.seed, CLIPS, cache=self.out / "clips.npy")

    def tokenizer(self) -> CLIPTokenizer:
        """The tokenizer, learnt once and kept in the output folder."""
        return kept_tokenizer(self.out, self.seed)

    def vae(self) -> Any:
        """The trained autoencoder."""
        if not (self.out / "vae").is_dir():
            raise UserError(f"{self.out / 'vae'} is missing: train --stage autoencoder first")
        model: Any = AutoencoderKL.from_pretrained(self.out / "vae")
        return model.to(self.device)

    def latents(self) -> Tensor:
        """The training clips encoded, (n, 4, F, h, w); made once and kept in the output folder."""
        cache = self.out / "latents.npy"
        encoded = kept(
            cache, lambda: autoencoder.encode_clips(self.vae(), self.clips(), self.device).half().numpy()
        )
        return torch.from_numpy(encoded).float()

    def examples(self) -> Examples:
        """What the judging models learn from; made once and kept in the output folder."""
        cache = self.out / "examples.npy"
        clips = rendered_clips(self.seed + 1, EXAMPLES, cache=cache, strides=STRIDES)
        decoded = kept(
            self.out / "examples-decoded.npy",
            lambda: decoded_clips(self.vae(), clips, self.device, self.seed),
        )
        return Examples(clips.scenes, decoded)


def train_autoencoder(job: Job) -> None:
    """Stage: autoencoder, saved whitened to `<out>/vae`."""
    model = autoencoder.train(job.clips(), job.plan(autoencoder.plan()), job.out, job.seed, job.device)
    model.save_pretrained(job.out / "vae")


def train_text_to_video(job: Job) -> None:
    """Stage: UNet and text encoder, on latents of the autoencoder in `<out>/vae`."""
    latents, clips = job.latents(), job.clips()
    torch.manual_seed(job.seed)
    model = text_to_video.TextToVideo(job.tokenizer())
    plan = job.plan(text_to_video.plan())
    text_to_video.train(model, latents, clips.scenes, plan, job.out, job.seed, job.device)


def train_text_to_image(job: Job) -> None:
    """Stage: the image model's UNet, on frames of the same latents, with the video model's text encoder."""
    checkpoint = job.out / "text-to-video.safetensors"
    if not checkpoint.exists():
        raise UserError(f"{checkpoint} is missing: train --stage text-to-video first")
    video_model = text_to_video.TextToVideo(job.tokenizer())
    load_average(video_model, checkpoint)
    own = job.out / "text-to-image.safetensors"
    require_same_source(own, file_sha256(checkpoint))
    torch.manual_seed(job.seed)
    unet, plan = text_to_image.build_unet(), job.plan(text_to_image.plan())
    scenes = job.clips().scenes
    folder = job.out / "text-to-image"
    if not own.exists() or step_of(own) < plan.steps:
        shutil.rmtree(folder, ignore_errors=True)
    text_to_image.train(unet, video_model, job.latents(), scenes, plan, job.out, job.seed, job.device)
    export.save_text_to_image(unet, video_model.text_encoder, video_model.tokenizer, job.vae(), folder)


def train_scvideo(job: Job) -> None:
    """Stage: the image model in `<out>/text-to-image`, inflated, on a pool in `<out>/world`."""
    image_model = job.out / "text-to-image"
    if not image_model.is_dir():
        raise UserError(f"{image_model} is missing: train --stage text-to-image first")
    plan = replace(scvideo.PLAN, seed=job.seed, steps=job.steps or scvideo.PLAN.steps)
    require_same_source(job.out / "scvideo", folder_fingerprint(image_model))
    scvideo.train(image_model, job.out / "scvideo", job.out / "world", plan, POOL, job.device)


def train_image_text(job: Job) -> None:
    """Stage: the image–text model."""
    plan, tokenizer = job.plan(image_text.plan()), job.tokenizer()
    image_text.train(job.examples(), tokenizer, plan, job.out, job.seed, job.device)


def train_image_classifier(job: Job) -> None:
    """Stage: the image classifier."""
    plan = job.plan(classifiers.image_plan())
    classifiers.train_image_classifier(job.examples(), plan, job.out, job.seed, job.device)


def train_video_classifier(job: Job) -> None:
    """Stage: the video classifier."""
    plan = job.plan(classifiers.video_plan())
    classifiers.train_video_classifier(job.examples(), plan, job.out, job.seed, job.device)


def export_and_measure(job: Job) -> None:
    """Stage: write the shipped folder, measure what is in it, and put the measurement beside it."""
    steps = export.export(job.out, job.weights, job.seed)
    report = {"seed": job.seed, "training_steps": steps} | quality.measure(job.weights, job.seed)
    quality.write(report, job.out / "quality.json")
    quality.write(report, job.weights / "quality.json")
    print((job.weights / "quality.json").read_text())


STAGES: dict[str, Callable[[Job], None]] = {
    "autoencoder": train_autoencoder,
    "text-to-video": train_text_to_video,
    "text-to-image": train_text_to_image,
    "scvideo": train_scvideo,
    "image-text": train_image_text,
    "image-classifier": train_image_classifier,
    "video-classifier": train_video_classifier,
    "export": export_and_measure,
}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run its stages; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.miniature.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, log and results")
    parser.add_argument("--stage", choices=["all", *STAGES], default="all")
    parser.add_argument("--steps", type=int, help="number of steps of the one stage that is named")
    parser.add_argument("--weights", type=Path, help="where to export to; OUT/weights unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, …")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.stage == "all":
        parser.error("--steps needs one --stage")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    device = chosen_device(options.device)
    job = Job(options.out, options.weights or options.out / "weights", options.seed, options.steps, device)
    try:
        for name in STAGES if options.stage == "all" else [options.stage]:
            STAGES[name](job)
    except PlainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"done: {job.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
