"""The miniature's image and video classifiers, in transformers' own classes.

Their outputs are grouped: colour, shape, motion and background each have a softmax of their own. The image
classifier sees one frame and has no motion group. Their pooled activations are the features of FID and FVD.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
)

from onaspr_core.miniature.attributes import GROUPS
from onaspr_core.miniature.rendering import CLIP_FRAMES, CLIP_SIZE
from onaspr_core.miniature.train.fitting import Plan, fit, generators
from onaspr_core.miniature.train.judging import Examples, batch, grouped_loss, labels, recoloured

VIDEO_GROUPS = list(GROUPS)
IMAGE_GROUPS = [group for group in GROUPS if group != "motion"]


def image_plan(steps: int = 1600) -> Plan:
    """The training plan of the image classifier."""
    return Plan("image-classifier", steps=steps, rate=2e-3, decay=0.5, averaging=0.99)


def video_plan(steps: int = 5500) -> Plan:
    """The training plan of the video classifier."""
    return Plan("video-classifier", steps=steps, rate=1e-3, decay=0.4, averaging=0.99, weight_decay=0.05)


def build_image_classifier() -> ResNetForImageClassification:
    """A small ResNet. Its batch norms stay in evaluation mode throughout: plain scales and offsets."""
    names = labels(IMAGE_GROUPS)
    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 96],
            depths=[1, 1, 1],
            layer_type="basic",
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
        )
    )


def build_video_classifier() -> VideoMAEForVideoClassification:
    """A small video transformer: patches of 8 × 8 pixels and two frames, four layers of width 96.

    The library's default of 0.02 for initial weights suits a width of 768; at 96 the positions drown the
    pixels, and shapes are never learnt.
    """
    names = labels(VIDEO_GROUPS)
    return VideoMAEForVideoClassification(
        VideoMAEConfig(
            image_size=CLIP_SIZE,
            num_frames=CLIP_FRAMES,
            patch_size=8,
            tubelet_size=2,
            hidden_size=96,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=256,
            initializer_range=0.1,
            use_mean_pooling=True,
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
        )
    )


def train_image_classifier(examples: Examples, plan: Plan, folder: Path, seed: int, device: str) -> Any:
    """Train on two frames of each clip of a batch."""
    torch.manual_seed(seed)
    model: Any = build_image_classifier()
    model.to(device)

    def loss(step: int) -> Tensor:
        rng, _ = generators(seed, plan.name, step)
        video, scenes = batch(examples, 48, rng)
        first, second = rng.integers(CLIP_FRAMES, size=2)
        images = torch.cat([video[:, :, first], video[:, :, second]]).to(device)
        return grouped_loss(model(pixel_values=images).logits, scenes + scenes, IMAGE_GROUPS)

    fit(model, loss, plan, folder)
    return model


def train_video_classifier(examples: Examples, plan: Plan, folder: Path, seed: int, device: str) -> Any:
    """Train on whole clips."""
    torch.manual_seed(seed)
    model: Any = build_video_classifier()
    model.to(device)

    def loss(step: int) -> Tensor:
        rng, _ = generators(seed, plan.name, step)
        video, scenes = batch(examples, 48, rng)
        video, colourless = recoloured(video, rng)
        logits = model(pixel_values=video.transpose(1, 2).to(device)).logits
        return grouped_loss(logits, scenes, VIDEO_GROUPS, colourless)

    fit(model, loss, plan, folder)
    return model
