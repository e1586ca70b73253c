"""The miniature's video model: `UNet3DConditionModel` and its text encoder, trained together.

v-prediction on Stable Diffusion's own noise schedule. Sampling for quality measurements goes through
`onaspr_core.backbones`, not through here.
"""

from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet3DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from onaspr_core.miniature.attributes import GROUPS, Scene
from onaspr_core.miniature.train.data import captions
from onaspr_core.miniature.train.fitting import Plan, fit, generators
from onaspr_core.miniature.train.judging import grouped_loss
from onaspr_core.miniature.train.text import WIDTH, build_text_encoder, tokens
from onaspr_core.miniature.train.unet import unet_arguments

BATCH = 16
EMPTY = 0.1
UPPER, UPPER_SHARE = 800, 0.4
"""This share of the timesteps is drawn from UPPER up, where motion and background are decided."""

READING = 0.5
"""Weight of the reader's loss; see `TextToVideo`."""


def plan(steps: int = 5000) -> Plan:
    """The training plan of this stage."""
    return Plan("text-to-video", steps=steps, rate=1.5e-3)


def scheduler() -> Any:
    """Stable Diffusion's schedule, as it is: the last level still carries a trace of the clip."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
        prediction_type="v_prediction",
    )


@cache
def _alphas() -> Tensor:
    alphas: Tensor = scheduler().alphas_cumprod
    return alphas


def lesson(clean: Tensor, rng: np.random.Generator, noises: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Noise latents (B, 4, …) on the CPU; return them, their timesteps (B,) and the velocity to predict."""
    count = len(clean)
    upper = rng.random(count) < UPPER_SHARE
    t = np.where(upper, rng.integers(UPPER, 1000, size=count), rng.integers(1000, size=count))
    timesteps = torch.from_numpy(t)
    noise = torch.randn(clean.shape, generator=noises)
    alpha = _alphas()[timesteps].view(-1, *[1] * (clean.ndim - 1))
    noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
    return noisy, timesteps, alpha.sqrt() * noise - (1 - alpha).sqrt() * clean


def build_unet(channels: tuple[int, int] = (32, 64)) -> Any:
    """A new UNet; text and time meet at both resolutions, through the middle block at the lower one.

    `attention_head_dim` is the size of a head here, whatever its name suggests. Temporal convolutions start
    from small random weights and not from zero: they alone tell the model which frame is which, and motion
    is learnt sooner when that is there from the first step.
    """
    unet: Any = UNet3DConditionModel(**unet_arguments("3D", channels), attention_head_dim=8)
    for name, module in unet.named_modules():
        if name.endswith("conv4.3") and isinstance(module, nn.Conv3d):
            nn.init.normal_(module.weight, std=0.5 / (module.weight[0].numel() ** 0.5))
    return unet


class TextToVideo(nn.Module):
    """The modules that learn together, under one set of parameter names.

    The reader is a linear layer that must tell the attributes from what the text encoder hands over. It is
    not shipped. Without it the word for the motion, which helps the UNet only together with the place in the
    frame, has no gradient to speak of for thousands of steps, and the text encoder never makes it salient.
    """

    def __init__(self, tokenizer: CLIPTokenizer, channels: tuple[int, int] = (32, 64)) -> None:
        """Random weights from torch's global generator."""
        super().__init__()
        self.tokenizer = tokenizer
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet(channels)
        self.reader = nn.Linear(WIDTH, sum(len(values) for values in GROUPS.values()))

    def reading_loss(self, condition: Tensor, texts: list[str], scenes: list[Scene]) -> Tensor:
        """How badly attributes of `scenes` are read off the ends of their texts; empty ones are left out."""
        said = [row for row, text in enumerate(texts) if text]
        ids = tokens(self.tokenizer, [texts[row] for row in said])
        ends = (ids == self.tokenizer.eos_token_id).float().to(condition.device)
        summary = (condition[said] * ends[..., None]).sum(1) / ends.sum(1, keepdim=True)
        return grouped_loss(self.reader(summary), [scenes[row] for row in said], list(GROUPS))

    def condition(self, texts: list[str]) -> Tensor:
        """Text embeddings (n, MAX_TOKENS, WIDTH)."""
        ids = tokens(self.tokenizer, texts).to(self.unet.device)
        hidden: Tensor = self.text_encoder(ids).last_hidden_state
        return hidden


def train(
    model: TextToVideo, latents: Tensor, scenes: list[Scene], plan: Plan, folder: Path, seed: int, device: str
) -> TextToVideo:
    """Train on cached latents (n, 4, F, h, w) of the clips that show `scenes`."""
    model.to(device)

    def loss(step: int) -> Tensor:
        rng, noises = generators(seed, plan.name, step)
        rows = rng.integers(len(scenes), size=BATCH)
        noisy, timesteps, target = lesson(latents[torch.from_numpy(rows)], rng, noises)
        noisy, timesteps, target = noisy.to(device), timesteps.to(device), target.to(device)
        shown = [scenes[row] for row in rows]
        texts = captions(shown, rng, EMPTY)
        condition = model.condition(texts)
        # The fused kernels are made for long sequences; on a CPU the plain one is faster for eight frames.
        with sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext():
            predicted: Tensor = model.unet(noisy, timesteps, condition).sample
            error: Tensor = (predicted - target).square().mean()
            return error + READING * model.reading_loss(condition, texts, shown)

    fit(model, loss, plan, folder)
    return model
