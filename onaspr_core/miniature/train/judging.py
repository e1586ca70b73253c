"""Training data of the models that judge video: real renders and what the autoencoder makes of them.

Generated video always comes out of the autoencoder, and never quite on its manifold. A judge that saw only
clean renders would score that, and not the content; so it is trained on both, blurred and noisy at times.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onaspr_core.media.video import Frames
from onaspr_core.miniature.attributes import GROUPS, Scene, held_out_combinations, label_indices
from onaspr_core.miniature.rendering import clip_frames
from onaspr_core.miniature.train.data import Clips, as_images, as_video

LATENT_NOISE = 0.15
STRIDES = (8, 7, 10, 9)
"""Frame strides of the clips: evaluation samples real videos more densely or less than every eighth frame."""

SMOOTHING = 0.02

_HELD_OUT = frozenset(held_out_combinations())


@dataclass(frozen=True)
class Examples:
    """Scenes, and clips of them that were decoded from slightly disturbed latents."""

    scenes: list[Scene]
    decoded: Frames

    def __len__(self) -> int:
        return len(self.scenes)


@torch.no_grad()
def decoded_clips(vae: Any, clips: Clips, device: str, seed: int, chunk: int = 32) -> Frames:
    """Encode and decode `clips` with a little noise on the latents: uint8 like `clips.frames`."""
    noise = torch.Generator().manual_seed(seed)
    out = np.empty_like(clips.frames)
    for start in range(0, len(clips), chunk):
        frames = clips.frames[start : start + chunk]
        latents = vae.encode(as_images(frames.reshape(-1, *frames.shape[2:])).to(device)).latent_dist.mode()
        latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=noise).to(device)
        images = vae.decode(latents).sample.clamp(-1, 1).add(1).mul(127.5).round().byte()
        out[start : start + chunk] = images.movedim(1, -1).cpu().numpy().reshape(frames.shape)
    return out


def batch(examples: Examples, size: int, rng: np.random.Generator) -> tuple[Tensor, list[Scene]]:
    """`size` augmented clips, float32 (size, 3, F, H, W) in about [−1, 1], and their scenes.

    One half are decoded examples, the other is rendered afresh.
    """
    rows = rng.integers(len(examples), size=size)
    scenes = [examples.scenes[row] for row in rows]
    frames = examples.decoded[rows]
    half = size // 2
    frames[half:] = clip_frames(scenes[half:], rng, (int(rng.choice(STRIDES)),))
    video = as_video(frames)
    blurred = torch.from_numpy(rng.random(size) < 0.25)
    video[blurred] = _blur(video[blurred], float(rng.uniform(0.1, 0.5)))
    strength = (
        torch.from_numpy(rng.uniform(0, 0.1, size) * (rng.random(size) < 0.5)).float().view(-1, 1, 1, 1, 1)
    )
    noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**62))))
    return video + strength * noise, scenes


def targets(scenes: list[Scene]) -> Tensor:
    """Index of each scene's value in each group: int64 (n, groups)."""
    return torch.tensor([label_indices(scene) for scene in scenes])


def possible(scenes: list[Scene]) -> Tensor:
    """Which values of each group training could show with the rest of each scene: bool (n, 15).

    Where a held-out combination differs from a scene in its shape alone, a classifier that sees colour,
    motion and background could rule that shape out without looking, and would be wrong just where it
    matters. `grouped_loss` therefore lets only possible values compete.
    """
    return torch.tensor(
        [
            [
                _replaced(scene, column, value) not in _HELD_OUT
                for column, values in enumerate(GROUPS.values())
                for value in values
            ]
            for scene in scenes
        ]
    )


def _replaced(scene: Scene, column: int, value: str) -> tuple[str, ...]:
    return tuple(value if i == column else own for i, own in enumerate(scene.combination))


def labels(groups: list[str]) -> list[str]:
    """Names of a classifier's outputs, such as "colour:red", group after group."""
    return [f"{group}:{value}" for group in groups for value in GROUPS[group]]


def recoloured(video: Tensor, rng: np.random.Generator, share: float = 0.5) -> tuple[Tensor, Tensor]:
    """Mix the channels of a `share` of clips (n, 3, …) at random; returns them and a mask (n,) of which.

    Shape and motion stay what they were and colours mean nothing any more, so whatever tells a shape here
    also tells it in combinations that were held out.
    """
    mask = torch.from_numpy(rng.random(len(video)) < share)
    mix = torch.from_numpy(rng.uniform(-1, 1, (int(mask.sum()), 3, 3))).float()
    mix = mix / mix.abs().sum(-1, keepdim=True)
    video = video.clone()
    video[mask] = torch.einsum("nij,nj...->ni...", mix, video[mask])
    return video, mask


def grouped_loss(
    logits: Tensor, scenes: list[Scene], groups: list[str], colourless: Tensor | None = None
) -> Tensor:
    """Sum over groups of the mean cross-entropy, label smoothing 0.02, among the `possible` values.

    `logits` (n, values of `groups`) are those of `scenes`, which are not held out. Where `colourless` (n,) is
    true, neither colour nor background counts.
    """
    none = torch.zeros(len(scenes), dtype=torch.bool) if colourless is None else colourless
    sizes = [len(values) for values in GROUPS.values()]
    allowed = dict(zip(GROUPS, possible(scenes).to(logits.device).split(sizes, dim=1), strict=True))
    wanted = dict(zip(GROUPS, targets(scenes).to(logits.device).T, strict=True))
    losses = []
    for group, part in zip(
        groups, logits.split([len(GROUPS[group]) for group in groups], dim=1), strict=True
    ):
        own = part.masked_fill(~allowed[group], -torch.inf).log_softmax(dim=1)
        right = own.gather(1, wanted[group][:, None]).squeeze(1)
        spread = own.masked_fill(~allowed[group], 0.0).sum(1) / allowed[group].sum(1)
        counts = ~none.to(logits.device) if group in ("colour", "background") else torch.ones_like(right)
        loss = -(1 - SMOOTHING) * right - SMOOTHING * spread
        losses.append((loss * counts).sum() / counts.sum().clamp(min=1))
    return torch.stack(losses).sum()


def _blur(video: Tensor, amount: float) -> Tensor:
    flat = video.reshape(-1, 1, *video.shape[-2:])
    soft = functional.avg_pool2d(functional.pad(flat, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return flat.lerp(soft, amount).reshape(video.shape)
