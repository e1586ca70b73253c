"""The TorchScript files that FID and FVD are published on: Inception-v3 and I3D.

Reached only through `extractors.load`, which has seen to it that the file is the pinned one: TorchScript is
code, and runs. Each is called as the metric's own code calls it.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from onaspr_core.batches import is_out_of_memory
from onaspr_core.devices import chosen_device
from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import (
    ARITHMETIC,
    I3D,
    INCEPTION,
    Arrays,
    FeatureExtractor,
    FeatureSet,
    described_bytes,
    grouped_softmax,
    readable,
)
from onaspr_core.evaluation.preprocessing import Preprocessing
from onaspr_core.evaluation.torch_networks import WithoutText
from onaspr_core.media.video import Frames

SIDE = 299
"""Height and width of Inception's images."""

HALF = 128.0
"""Inception reads (pixels − 128) / 128."""


def load(feature_set: FeatureSet, device: str) -> FeatureExtractor:
    """Load the network that `feature_set` describes; see `extractors.load`."""
    chosen = chosen_device(device)
    data = described_bytes(feature_set)
    with readable(feature_set):
        model = torch.jit.load(io.BytesIO(data), map_location=chosen).eval()
    return _CLASSES[feature_set.architecture](feature_set, model, chosen)


class _Scripted(WithoutText):
    """What both share: they read no text, and their classes are one group."""

    width: int

    def __init__(self, feature_set: FeatureSet, model: Any, device: str) -> None:
        self.feature_set = feature_set
        self.model = model
        self.device = device
        (self.group,) = feature_set.groups

    def _require(self, arguments: Collection[str], part: str | None = None) -> None:
        """Refuse a module that is not called as this network is."""
        forward = getattr(self.model, "forward", None)
        taken = {one.name for one in forward.schema.arguments} if forward is not None else set()
        lacking = sorted(set(arguments) - taken) + [
            one for one in [part] if one and not hasattr(self.model, one)
        ]
        if lacking:
            raise UserError(
                f"{self.feature_set.place} is no {self.feature_set.architecture} as published: it lacks "
                f"{', '.join(lacking)}; it cannot serve as {self.feature_set.role} (docs/metrics.md)."
            )

    def _called(self, call: Callable[[], torch.Tensor], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """The result of a call as an array of this shape, or a sentence that says why there is none."""
        name = f"{self.feature_set.architecture} in {self.feature_set.place}"
        try:
            found = call()
        except RuntimeError as problem:
            if is_out_of_memory(problem):
                raise
            raise UserError(f"{name} cannot read what it was shown: {_last_line(problem)}") from problem
        if tuple(found.shape) != shape:
            raise UserError(
                f"{name} gave values of shape {tuple(found.shape)}, not {shape}: it is no published file."
            )
        return cast("npt.NDArray[np.float32]", found.float().cpu().numpy())


class InceptionV3(_Scripted):
    """FID's network: pool3 of each frame, as clean-fid computes it.

    clean-fid resizes by itself and calls the file's `layers`; the file's `forward` would resize again. Class
    probabilities are those of StyleGAN's inception score: `forward` without the output's bias.
    """

    width = 2048

    def __init__(self, feature_set: FeatureSet, model: Any, device: str) -> None:
        """Take the loaded module; a UserError when it is called in another way."""
        super().__init__(feature_set, model, device)
        self._require(["no_output_bias"], part="layers")
        self.preprocessing = Preprocessing(
            size=(SIDE, SIDE),
            crop=None,
            mean=(HALF,) * 3,
            std=(HALF,) * 3,
            scale=1.0,
            resample=Image.Resampling.BICUBIC,
            arithmetic=ARITHMETIC["image classifier"],
        )

    @torch.inference_mode()
    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Per video, `features` (F, 2048) and `probabilities/class` (F, 1008)."""
        pixels = torch.cat([self.preprocessing(video) for video in videos]).to(self.device)
        n, classes = len(pixels), len(self.group.values)
        pooled = self._called(lambda: self.model.layers(pixels).reshape(n, -1), (n, self.width))
        likely = self._called(lambda: self.model(pixels * HALF + HALF, no_output_bias=True), (n, classes))
        bounds = itertools.pairwise(np.cumsum([0, *map(len, videos)]))
        name = f"probabilities/{self.group.name}"
        return [{"features": pooled[low:high], name: likely[low:high]} for low, high in bounds]


class I3DKinetics(_Scripted):
    """FVD's network: the 400 values before the softmax, as StyleGAN-V computes them.

    It scales and resizes by itself, in float. Videos may have any length and size that it can read.
    """

    width = 400

    def __init__(self, feature_set: FeatureSet, model: Any, device: str) -> None:
        """Take the loaded module; a UserError when it is called in another way."""
        super().__init__(feature_set, model, device)
        self._require(["rescale", "resize", "return_features"])

    @torch.inference_mode()
    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Per video, `features` (400,) and `probabilities/class` (400,)."""
        rows: dict[int, npt.NDArray[np.float32]] = {}
        for shape in dict.fromkeys(video.shape for video in videos):
            own = [i for i, video in enumerate(videos) if video.shape == shape]
            pixels = torch.from_numpy(np.stack([videos[i] for i in own])).to(self.device)
            found = self._logits(pixels.permute(0, 4, 1, 2, 3).float().contiguous())
            rows.update(zip(own, found, strict=True))
        logits = np.stack([rows[i] for i in range(len(videos))])
        likely = grouped_softmax(logits, [self.group])
        return [
            {"features": logits[i], **{name: array[i] for name, array in likely.items()}}
            for i in range(len(videos))
        ]

    def _logits(self, pixels: torch.Tensor) -> npt.NDArray[np.float32]:
        """Logits (n, 400) of pixels (n, 3, F, H, W), 0 … 255."""
        return self._called(
            lambda: self.model(pixels, rescale=True, resize=True, return_features=True),
            (len(pixels), self.width),
        )


_CLASSES: dict[str, Callable[[FeatureSet, Any, str], FeatureExtractor]] = {
    INCEPTION: InceptionV3,
    I3D: I3DKinetics,
}


def _last_line(problem: RuntimeError) -> str:
    """The message below TorchScript's trace."""
    return next((line for line in reversed(str(problem).splitlines()) if line.strip()), "no reason is told")
