"""The miniature's autoencoder: 32 × 32 RGB to 4 × 8 × 8 latents of zero mean and unit variance.

Trained on single frames (L1 + L2, a tiny KL weight). Whitening is then folded into the 1 × 1 convolutions
around the latents, so that `scaling_factor` is 1 and no caller needs to know about it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from onaspr_core.miniature.train.data import Clips, as_images
from onaspr_core.miniature.train.fitting import Plan, fit, generators

KL_WEIGHT = 1e-5
BATCH = 32


def plan(steps: int = 1500) -> Plan:
    """The training plan of this stage."""
    return Plan("autoencoder", steps=steps, rate=2e-3, decay=0.5, averaging=0.99)


def build() -> Any:
    """A new autoencoder with random weights."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 48),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=32,
        scaling_factor=1.0,
    )


def train(clips: Clips, plan: Plan, folder: Path, seed: int, device: str) -> Any:
    """Train an autoencoder on frames of `clips` and whiten its latents."""
    torch.manual_seed(seed)
    model = build().to(device)
    flat = clips.frames.reshape(-1, *clips.frames.shape[2:])

    def loss(step: int) -> Tensor:
        rng, noise = generators(seed, plan.name, step)
        images = as_images(flat[rng.integers(len(flat), size=BATCH)]).to(device)
        posterior = model.encode(images).latent_dist
        random = torch.randn(posterior.mean.shape, generator=noise).to(device)
        error = model.decode(posterior.mean + posterior.std * random).sample - images
        total: Tensor = error.abs().mean() + error.square().mean() + KL_WEIGHT * posterior.kl().mean()
        return total

    fit(model, loss, plan, folder)
    whiten(model, as_images(flat[generators(seed, plan.name, plan.steps)[0].integers(len(flat), size=4096)]))
    return model


@torch.no_grad()
def whiten(model: Any, images: Tensor) -> None:
    """Fold a PCA whitening of the latents of `images` into the convolutions around them."""
    device = next(model.parameters()).device
    latents = torch.cat([model.encode(part.to(device)).latent_dist.mode() for part in images.split(256)])
    flat = latents.movedim(1, -1).reshape(-1, latents.shape[1]).double()
    mean = flat.mean(0)
    variances, axes = torch.linalg.eigh(torch.cov(flat.T))
    forward = (axes / variances.sqrt()).T
    backward = axes * variances.sqrt()
    channels = len(mean)
    into, out = model.quant_conv, model.post_quant_conv
    weight, bias = into.weight.double()[:channels, :, 0, 0], into.bias.double()[:channels]
    into.weight[:channels, :, 0, 0] = (forward @ weight).float()
    into.bias[:channels] = (forward @ (bias - mean)).float()
    into.weight[channels:] = 0.0
    into.bias[channels:] = -10.0
    out.bias.add_((out.weight.double()[:, :, 0, 0] @ mean).float())
    out.weight[:, :, 0, 0] = (out.weight.double()[:, :, 0, 0] @ backward).float()


@torch.no_grad()
def encode_clips(model: Any, clips: Clips, device: str, chunk: int = 64) -> Tensor:
    """Latents of all clips (posterior mode): float32 (n, 4, F, 8, 8) on the CPU."""
    out = []
    for start in range(0, len(clips), chunk):
        frames = clips.frames[start : start + chunk]
        latents = model.encode(as_images(frames.reshape(-1, *frames.shape[2:])).to(device)).latent_dist.mode()
        out.append(latents.reshape(len(frames), -1, *latents.shape[1:]).transpose(1, 2).cpu())
    return torch.cat(out)
