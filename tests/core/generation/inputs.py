"""What the stages before generation leave, by hand, and a backbone that remembers what it was asked."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from onaspr_core.diffusion.levels import NoiseLevels
from onaspr_core.diffusion.noise import random_noise
from onaspr_core.generation import video_items
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

PROMPTS = {
    "00001": "a red cat",
    "00002": "two dogs",
    "00003": "a blue bird",
    "00004": "old cars",
    "00005": "the sea",
}
UNCHANGED = "00004"
SHAPE = (4, 3, 4, 4)


class RecordingBackbone:
    """A model without weights whose predictions depend on nothing but their own sample, bit for bit."""

    fingerprint = "recording"
    device = "cpu"
    prediction_type = "epsilon"
    video_shape = (3, 16, 16)
    latent_shape = SHAPE

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[str], float | None]] = []
        self.first: dict[str, Tensor] = {}
        self.steps = 0

    def encode_prompts(self, prompts: Any) -> list[str]:
        return list(prompts)

    def encode(self, video: Tensor) -> Tensor:
        raise AssertionError("generation encodes nothing")

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :3].repeat_interleave(4, -1).repeat_interleave(4, -2).tanh()

    def levels(self, steps: int) -> NoiseLevels:
        self.steps = steps
        noise = np.linspace(0.1, 0.9, steps + 1)
        return NoiseLevels(np.sqrt(1 - noise**2), noise, np.arange(steps + 1))

    def predict(
        self, z: Tensor, level_index: int, conditioning: list[str], guidance: float | None = None
    ) -> Tensor:
        self.asked.append((level_index, conditioning, guidance))
        if level_index == self.steps:
            self.first.update(zip(conditioning, z, strict=True))
        return torch.stack([one * (1 / (2 + len(text))) for one, text in zip(z, conditioning, strict=True)])


def inverted_of(prompt: str) -> np.ndarray:
    return random_noise(SHAPE, seed=99, prompt_id=prompt, sample_index=0).half().numpy()


def random_of(prompt: str) -> Tensor:
    return random_noise(SHAPE, seed=3, prompt_id=prompt, sample_index=0)


def changed(e: Experiment, **changes: Any) -> Experiment:
    names = ("steps", "guidance_scale", "batch_size")
    sampling: dict[str, Any] = {name: changes.pop(name) for name in names if name in changes}
    return e.model_copy(update={**changes, "sampling": e.sampling.model_copy(update=sampling)})


def using(e: Experiment, **options: Any) -> Experiment:
    """An experiment with other options of inversion."""
    return e.changed(inversion={**e.inversion.model_dump(), **options})


def keys(workspace: Workspace, e: Experiment, variant: str) -> list[str]:
    return [item.key for item in video_items(workspace, e, variant)]
