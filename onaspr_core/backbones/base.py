"""What every family shares: its grid, guidance in one batch, and prompts encoded once.

A family derives from `DiffusionBackbone` and says how its text is encoded, how its denoiser is called and
how its autoencoder is. What does not belong here: loading (`weights`), and stepping
(`onaspr_core.diffusion.solvers`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onaspr_core.backbones.weights import Weights
from onaspr_core.diffusion.levels import NoiseLevels, levels_from_config
from onaspr_core.diffusion.solvers import PREDICTION_TYPES
from onaspr_core.errors import UserError

Texts = Mapping[str, Tensor]
"""Encoded texts, in whatever tensors a family's denoiser needs; the first axis is that of the texts."""

SHARED_TEXTS = 64
"""So many encoded texts are kept: a prompt stands in every variant, and the empty one in every batch."""


@dataclass(frozen=True)
class TextConditioning:
    """Encoded prompts: B of them, and for guidance 2·B, the unconditional ones first."""

    prompts: Texts
    guided: Texts


class DiffusionBackbone(ABC):
    """See `onaspr_core.backbones.protocol.Backbone` for what the public methods do."""

    def __init__(
        self,
        weights: Weights,
        latent_shape: tuple[int, int, int, int],
        scheduler_config: Mapping[str, Any],
        prediction_type: str | None = None,
    ) -> None:
        """Take what is known when the components are loaded.

        Args:
            weights: Where they were loaded from, and onto which device.
            latent_shape: (C, T, h, w).
            scheduler_config: The content of scheduler_config.json.
            prediction_type: What the denoiser returns; left out, what the scheduler's configuration says.

        Raises:
            UserError: for a prediction type that the solvers do not know.
        """
        self.fingerprint = weights.fingerprint
        self.video_shape = weights.video_shape
        self.latent_shape = latent_shape
        self.device = str(weights.device)
        self.prediction_type = prediction_type or str(scheduler_config.get("prediction_type", "epsilon"))
        if self.prediction_type not in PREDICTION_TYPES:
            raise UserError(
                f"the model's scheduler says prediction_type = {self.prediction_type!r}; "
                f"known: {', '.join(PREDICTION_TYPES)}"
            )
        self.weights = weights
        self.scheduler_config = dict(scheduler_config)
        self._timesteps: Tensor | None = None
        self._texts: dict[str, Texts] = {}

    @abstractmethod
    def encode(self, video: Tensor) -> Tensor:
        """Turn video (B, 3, F, H, W) in [−1, 1] into latents (B, C, T, h, w) float32."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents (B, C, T, h, w) into video (B, 3, F, H, W) float32 in [−1, 1]."""

    @abstractmethod
    def encode_text(self, text: str) -> Texts:
        """Encode one text, as tensors (1, …); the empty text is what guidance leads away from."""

    @abstractmethod
    def denoiser(self, sample: Tensor, timestep: Tensor, texts: Texts) -> Tensor:
        """Call the model: latents (B, C, T, h, w) in its dtype, a timestep (), B texts; their like back."""

    def grid(self, steps: int) -> NoiseLevels:
        """Return the grid of the scheduler's configuration; a family of another kind says otherwise."""
        return levels_from_config(self.scheduler_config, steps)

    def encode_prompts(self, prompts: Sequence[str]) -> TextConditioning:
        """Encode prompts, each different one once and by itself: what is beside it makes no difference.

        Those of the last batches, and the empty one, are kept.
        """
        kept: dict[str, Texts] = {}
        for text in dict.fromkeys([*prompts, ""]):
            if text in self._texts:
                kept[text] = self._texts[text]
            else:
                with torch.inference_mode():
                    kept[text] = self.encode_text(text)
        others = [(text, texts) for text, texts in self._texts.items() if text not in kept]
        self._texts = dict([*others, *kept.items()][-SHARED_TEXTS:])

        def joined(texts: Sequence[str]) -> Texts:
            return {name: torch.cat([kept[text][name] for text in texts]) for name in kept[""]}

        return TextConditioning(joined(prompts), joined([*[""] * len(prompts), *prompts]))

    def levels(self, steps: int) -> NoiseLevels:
        """Prepare the grid and keep its timesteps on the device."""
        levels = self.grid(steps)
        self._timesteps = torch.as_tensor(levels.timesteps, device=self.weights.device)
        return levels

    @torch.no_grad()
    def predict(
        self, z: Tensor, level_index: int, conditioning: TextConditioning, guidance: float | None = None
    ) -> Tensor:
        """Ask the model once, with guidance as one batch of 2·B; guidance is applied in z's own dtype.

        Raises:
            UserError: when no grid has been prepared.
        """
        if self._timesteps is None:
            raise UserError(
                "predict was called before levels: the backbone does not know which grid it is on"
            )
        guided = guidance is not None and guidance > 1
        sample = z.to(self.weights.device, self.weights.dtype)
        with torch.inference_mode():
            output = self.denoiser(
                torch.cat([sample, sample]) if guided else sample,
                self._timesteps[level_index],
                conditioning.guided if guided else conditioning.prompts,
            )
        # Tensors made in inference mode refuse to be written to: what is returned is made outside of it.
        if guidance is None or not guided:
            return output.to(z.device, z.dtype, copy=True)
        unconditional, conditional = output.to(z.device, z.dtype).chunk(2)
        return unconditional + guidance * (conditional - unconditional)
