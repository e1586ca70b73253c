"""What the method asks of a diffusion model. Nothing is loaded or computed here."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from onaspr_core.diffusion.levels import NoiseLevels

Conditioning = Any
"""What prompts have become: made by `encode_prompts`, given back to `predict`, and opaque in between."""


class Backbone(Protocol):
    """A text-to-video (or, with one frame, text-to-image) diffusion model.

    Video is (B, 3, F, H, W) in [−1, 1]; latents are (B, C, T, h, w) float32 whatever layout and dtype the
    model itself has. Every method takes and returns tensors on any device and computes on `device`; nothing
    draws random numbers, so equal arguments give equal results. All but `levels` leave the model as it is.
    """

    @property
    def fingerprint(self) -> str:
        """Hash of everything that determines the model's results: weights, dtype and video shape."""
        ...

    @property
    def device(self) -> str:
        """Where the model computes, such as "cpu" or "cuda"."""
        ...

    @property
    def prediction_type(self) -> str:
        """What `predict` returns: "epsilon", "v_prediction" or "flow"."""
        ...

    @property
    def video_shape(self) -> tuple[int, int, int]:
        """Frames, height and width (F, H, W) of a video."""
        ...

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """Shape (C, T, h, w) of one latent."""
        ...

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts, one for each latent of a batch, for `predict` with or without guidance."""
        ...

    def encode(self, video: Tensor) -> Tensor:
        """Turn video into latents: the mode of the posterior, not a sample of it."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents into video."""
        ...

    def levels(self, steps: int) -> NoiseLevels:
        """Return the model's grid of so many steps, and make it the one that `predict` counts levels on."""
        ...

    def predict(
        self, z: Tensor, level_index: int, conditioning: Conditioning, guidance: float | None = None
    ) -> Tensor:
        """Predict at a level of the grid that `levels` prepared last.

        Args:
            z: Latents at that level.
            level_index: 0 … steps.
            conditioning: Of as many prompts as there are latents.
            guidance: Classifier-free guidance scale w: unconditional + w·(conditional − unconditional). None
                or anything up to 1 asks the model once, with the conditioning alone.

        Returns:
            The prediction, of z's shape and dtype.
        """
        ...
