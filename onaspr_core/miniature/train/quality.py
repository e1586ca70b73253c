"""How good the shipped models are, measured on held-out combinations only and written to `quality.json`.

Judges are measured on fresh renders; models that generate, by what the classifiers see in the benchmark's
prompts as the project generates them (`onaspr_core.backbones`, `onaspr_core.sampling`).
Nothing here depends on the machine, but for the last bits of floating-point sums.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    CLIPModel,
    CLIPTokenizer,
    ResNetForImageClassification,
    VideoMAEForVideoClassification,
)

from onaspr_core.backbones.registry import load_backbone
from onaspr_core.backbones.settings import OF_IMAGES, Family
from onaspr_core.diffusion.noise import random_noise
from onaspr_core.miniature.attributes import BACKGROUNDS, COLOURS, GROUPS, SHAPES, Scene
from onaspr_core.miniature.rendering import CLIP_FRAMES, CLIP_SIZE
from onaspr_core.miniature.train.classifiers import IMAGE_GROUPS, VIDEO_GROUPS
from onaspr_core.miniature.train.data import Clips, as_video, rendered_clips
from onaspr_core.miniature.train.judging import targets
from onaspr_core.miniature.train.text import tokens
from onaspr_core.miniature.world import benchmark_sources
from onaspr_core.paths import folder_fingerprint
from onaspr_core.progress import track
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import BackboneSettings

FAMILIES: dict[str, Family] = {
    "text-to-video": "modelscope",
    "text-to-image": "stable-diffusion-1.5",
    "scvideo": "scvideo",
}
RENDERS = 800
STEPS, GUIDANCE, BATCH = 25, 2.0, 25


def fingerprints(weights: Path) -> dict[str, str]:
    """The hash of each shipped model's files, so that a report can be told to be about these weights."""
    return {model.name: folder_fingerprint(model) for model in sorted(weights.iterdir()) if model.is_dir()}


@torch.inference_mode()
def measure(weights: Path, seed: int, prompts: int = 200) -> dict[str, Any]:
    """Measure every model in `weights`; accuracies are fractions of 1."""
    clips = rendered_clips(seed + 100, RENDERS, held_out=True)
    video, scenes = as_video(clips.frames), clips.scenes
    videos, wanted = generate(weights, "text-to-video", prompts)
    images, _ = generate(weights, "text-to-image", prompts)
    inflated, _ = generate(weights, "scvideo", prompts)
    made = {"prompts": prompts, "steps": STEPS, "guidance_scale": GUIDANCE}
    return {
        "weights": fingerprints(weights),
        "held_out_renders": RENDERS,
        "video_classifier": judge_videos(weights, video, scenes),
        "image_classifier": judge_images(weights, video[:, :, :: CLIP_FRAMES // 2], scenes),
        "image_text": {"colour_shape_background_of_48": match_captions(weights, video[:, :, 3], scenes)},
        "autoencoder": _autoencoder(weights, clips),
        "text_to_video": {**made, "judged_by_video_classifier": judge_videos(weights, videos, wanted)},
        "text_to_image": {**made, "judged_by_image_classifier": judge_images(weights, images, wanted)},
        "scvideo": {**made, "judged_by_video_classifier": judge_videos(weights, inflated, wanted)},
    }


def write(report: dict[str, Any], path: Path) -> None:
    """Write a report as indented JSON, numbers with four decimals."""
    rounded = json.loads(json.dumps(report), parse_float=lambda text: round(float(text), 4))
    path.write_text(json.dumps(rounded, indent=2) + "\n")


def generate(
    weights: Path, model: str, prompts: int, guidance: float = GUIDANCE, steps: int = STEPS
) -> tuple[Tensor, list[Scene]]:
    """Baseline videos (n, 3, F, H, W) of the first benchmark prompts, and the scenes they should show."""
    family = FAMILIES[model]
    settings = BackboneSettings(
        family=family,
        path=str((weights / model).resolve()),
        frames=1 if family in OF_IMAGES else CLIP_FRAMES,
        height=CLIP_SIZE,
        width=CLIP_SIZE,
    )
    backbone = load_backbone(settings, weights)
    sources = benchmark_sources()[:prompts]
    videos = []
    with track(f"generating held-out prompts, {model}", len(sources)) as advance:
        for start in range(0, len(sources), BATCH):
            part = sources[start : start + BATCH]
            shape = backbone.latent_shape
            noise = torch.stack([random_noise(shape, seed=0, prompt_id=s.id, sample_index=0) for s in part])
            texts = [source.caption for source in part]
            latents = sample_latents(backbone, noise, texts, steps=steps, guidance=guidance)
            videos.append(backbone.decode(latents))
            advance(len(part))
    return torch.cat(videos), [source.scene for source in sources]


def judge_videos(weights: Path, video: Tensor, scenes: list[Scene]) -> dict[str, float]:
    """Share of videos in which the video classifier finds the scene's value, per group."""
    model = VideoMAEForVideoClassification.from_pretrained(weights / "video-classifier").float().eval()
    logits = torch.cat([model(pixel_values=part.transpose(1, 2)).logits for part in video.split(100)])
    return _accuracies(logits, targets(scenes), VIDEO_GROUPS)


def judge_images(weights: Path, video: Tensor, scenes: list[Scene]) -> dict[str, float]:
    """The same of the image classifier, over all frames given."""
    model = ResNetForImageClassification.from_pretrained(weights / "image-classifier").float().eval()
    frames = video.transpose(1, 2)
    logits = torch.cat([model(pixel_values=part).logits for part in frames.flatten(0, 1).split(400)])
    return _accuracies(logits, targets(scenes).repeat_interleave(frames.shape[1], 0), IMAGE_GROUPS)


def match_captions(weights: Path, images: Tensor, scenes: list[Scene]) -> float:
    """Share of frames whose own caption scores highest among one for each look (48 of them)."""
    model = CLIPModel.from_pretrained(weights / "image-text").float().eval()
    tokenizer = CLIPTokenizer.from_pretrained(weights / "image-text")
    looks = [(c, s, b) for c in COLOURS for s in SHAPES for b in BACKGROUNDS]
    places = {
        "sea": "over the sea",
        "meadow": "over the meadow",
        "sand": "over the sand",
        "night": "in the night sky",
    }
    texts = [f"a {colour} {shape} moves {places[ground]}" for colour, shape, ground in looks]
    logits = model(input_ids=tokens(tokenizer, texts), pixel_values=images).logits_per_image
    own = torch.tensor([looks.index((s.colour, s.shape, s.background)) for s in scenes])
    return float((logits.argmax(1) == own).float().mean())


def _autoencoder(weights: Path, clips: Clips) -> dict[str, float]:
    from diffusers import AutoencoderKL

    from onaspr_core.miniature.train.autoencoder import encode_clips

    model = AutoencoderKL.from_pretrained(weights / "text-to-video" / "vae").float()
    latents = encode_clips(model, clips, "cpu")
    images = model.decode(latents[:100].transpose(1, 2).flatten(0, 1)).sample
    error = images - as_video(clips.frames[:100]).transpose(1, 2).flatten(0, 1)
    return {
        "rmse_of_255": 127.5 * float(error.square().mean().sqrt()),
        "largest_latent_mean": float(latents.mean((0, 2, 3, 4)).abs().max()),
        "latent_std_smallest": float(latents.std((0, 2, 3, 4)).min()),
        "latent_std_largest": float(latents.std((0, 2, 3, 4)).max()),
    }


def _accuracies(logits: Tensor, wanted: Tensor, groups: list[str]) -> dict[str, float]:
    parts = logits.split([len(GROUPS[group]) for group in groups], dim=-1)
    columns = [list(GROUPS).index(group) for group in groups]
    right = np.stack(
        [(part.argmax(-1) == wanted[:, column]).numpy() for part, column in zip(parts, columns, strict=True)]
    )
    return {group: float(row.mean()) for group, row in zip(groups, right, strict=True)}
