"""The miniature's image–text model: a small `CLIPModel`, for CLIPSIM and CLIP-FID.

One frame does not show a motion, and several captions of a batch may fit it; the contrastive targets are
therefore shared between all pairs that agree in colour, shape and background.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer, CLIPVisionConfig

from onaspr_core.miniature.rendering import CLIP_FRAMES, CLIP_SIZE
from onaspr_core.miniature.train.data import captions
from onaspr_core.miniature.train.fitting import Plan, fit, generators
from onaspr_core.miniature.train.judging import Examples, batch, targets
from onaspr_core.miniature.train.text import WIDTH, text_config, tokens

BATCH = 96
SEEN = [0, 1, 3]
"""Columns of `targets` that a single frame shows: colour, shape, background."""


def plan(steps: int = 2000) -> Plan:
    """The training plan of this stage."""
    return Plan("image-text", steps=steps, rate=1.5e-3, decay=0.5, averaging=0.99)


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A new image–text model with random weights: patches of 8 × 8 pixels, width 64, three layers."""
    vision = CLIPVisionConfig(
        image_size=CLIP_SIZE,
        patch_size=8,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=WIDTH,
        hidden_act="gelu",
    )
    text = text_config(tokenizer)
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    )


def train(
    examples: Examples, tokenizer: CLIPTokenizer, plan: Plan, folder: Path, seed: int, device: str
) -> Any:
    """Train on one frame of each clip of a batch and a fresh caption."""
    torch.manual_seed(seed)
    model: Any = build(tokenizer)
    model.to(device)

    def loss(step: int) -> Tensor:
        rng, _ = generators(seed, plan.name, step)
        video, scenes = batch(examples, BATCH, rng)
        images = video[:, :, int(rng.integers(CLIP_FRAMES))].to(device)
        ids = tokens(tokenizer, captions(scenes, rng)).to(device)
        logits = model(input_ids=ids, pixel_values=images).logits_per_image
        seen = targets(scenes)[:, SEEN]
        same = (seen[:, None] == seen[None]).all(-1).float().to(device)
        wanted = same / same.sum(1, keepdim=True)
        return functional.cross_entropy(logits, wanted) + functional.cross_entropy(logits.T, wanted)

    fit(model, loss, plan, folder)
    return model
