"""Training data in memory: rendered clips of training combinations, and captions drawn fresh at each step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onaspr_core.errors import UserError
from onaspr_core.media.video import Frames
from onaspr_core.miniature.attributes import Scene, random_scenes
from onaspr_core.miniature.grammar import training_caption
from onaspr_core.miniature.rendering import FRAME_STRIDE, clip_frames


@dataclass(frozen=True)
class Clips:
    """Rendered clips, uint8 (n, 8, 32, 32, 3), and the scenes they show."""

    scenes: list[Scene]
    frames: Frames

    def __len__(self) -> int:
        return len(self.scenes)


def rendered_clips(
    seed: int,
    count: int,
    held_out: bool = False,
    cache: Path | None = None,
    strides: Sequence[int] = (FRAME_STRIDE,),
) -> Clips:
    """Render `count` clips from `seed`; `cache` is a .npy file to keep the frames in between runs."""
    rng = np.random.default_rng([seed, count, held_out])
    scenes = random_scenes(count, rng, held_out)
    frames = kept(cache, lambda: clip_frames(scenes, rng, strides))
    if len(frames) != count:
        raise UserError(f"{cache} holds {len(frames)} clips and not {count}: remove it")
    return Clips(scenes, frames)


def kept(cache: Path | None, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The array in the .npy file `cache`, made and written there first where it does not exist."""
    if cache is None:
        return make()
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial.npy")
        np.save(partial, make(), allow_pickle=False)
        partial.replace(cache)
    array: npt.NDArray[Any] = np.load(cache, mmap_mode="c", allow_pickle=False)
    return array


def as_video(frames: Frames) -> Tensor:
    """uint8 (..., F, H, W, 3) to float32 (..., 3, F, H, W) in [−1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).float().div(127.5).sub(1.0).movedim(-1, -4)


def as_images(frames: Frames) -> Tensor:
    """uint8 (n, H, W, 3) to float32 (n, 3, H, W) in [−1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).float().div(127.5).sub(1.0).movedim(-1, 1)


def captions(scenes: list[Scene], rng: np.random.Generator, empty: float = 0.0) -> list[str]:
    """A fresh training caption for each scene; a fraction `empty` of them is the empty text."""
    texts = [training_caption(scene, rng) for scene in scenes]
    return ["" if drop else text for text, drop in zip(texts, rng.random(len(texts)) < empty, strict=True)]
