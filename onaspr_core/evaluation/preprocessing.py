"""From frames to a network's input tensor, as its `preprocessor_config.json` says, in PIL and torch.

No torchvision. Two resizing rules exist because clean-fid has two: `float` resizes every channel in
float32, clipped to [0, 255] and not quantised (FID), `uint8` resizes 8-bit RGB as CLIP's own preprocessing
does (CLIP-FID). Which of the two a network gets is part of its fingerprint (`extractors.ARITHMETIC`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from onaspr_core.errors import UserError
from onaspr_core.media.video import Frames


@dataclass(frozen=True)
class Preprocessing:
    """How frames become a network's input.

    `size` is (height, width), or one number for the shorter edge; `crop` is the (height, width) of a
    centre crop; both may be None. Pixels are multiplied by `scale`, then normalised per channel.
    """

    size: tuple[int, int] | int | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    resample: int
    arithmetic: Literal["float", "uint8"]

    def __call__(self, frames: Frames) -> torch.Tensor:
        """Turn uint8 (N, H, W, 3) into float32 (N, 3, h, w)."""
        pixels = np.stack([self._shape(frame) for frame in frames]).astype(np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normalised = (pixels * np.float32(self.scale) - mean) / std
        return torch.from_numpy(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)))

    def _shape(self, frame: Frames) -> npt.NDArray[Any]:
        height, width = self._target(*frame.shape[:2])
        resized: npt.NDArray[Any] = frame
        if (height, width) != frame.shape[:2]:
            resized = self._resize(frame, height, width)
        return _centre_crop(resized, self.crop) if self.crop else resized

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        short = min(height, width)
        return self.size * height // short, self.size * width // short

    def _resize(self, frame: Frames, height: int, width: int) -> npt.NDArray[Any]:
        kernel = Image.Resampling(self.resample)
        if self.arithmetic == "uint8":
            return np.asarray(Image.fromarray(frame).resize((width, height), kernel))
        channels = [Image.fromarray(frame[:, :, c].astype(np.float32)) for c in range(3)]
        resized = [np.asarray(one.resize((width, height), kernel)) for one in channels]
        # A bicubic kernel overshoots at edges; clean-fid's `make_resizer` clips that, as 8-bit images would.
        return np.stack(resized, axis=-1).clip(0.0, 255.0)


def read_preprocessing(folder: Path, arithmetic: Literal["float", "uint8"]) -> Preprocessing:
    """Read `preprocessor_config.json` of a model folder.

    Raises UserError when the file is missing or says something that has no meaning here.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise UserError(
            f"{path} is missing: it says how frames are resized and normalised. "
            "Save the model's image processor beside its weights."
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    try:
        return Preprocessing(
            size=_size(values.get("size")) if values.get("do_resize", True) else None,
            crop=_pair(values["crop_size"]) if values.get("do_center_crop", False) else None,
            mean=tuple(values["image_mean"]) if values.get("do_normalize", True) else (0.0, 0.0, 0.0),
            std=tuple(values["image_std"]) if values.get("do_normalize", True) else (1.0, 1.0, 1.0),
            scale=float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0,
            resample=int(values.get("resample", Image.Resampling.BICUBIC)),
            arithmetic=arithmetic,
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise UserError(
            f"{path} cannot be understood: {problem!r}; write it as transformers does."
        ) from problem


def _size(value: Mapping[str, int] | int | None) -> tuple[int, int] | int | None:
    if value is None or isinstance(value, int):
        return value
    return int(value["shortest_edge"]) if "shortest_edge" in value else _pair(value)


def _pair(value: Mapping[str, int] | int) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value["height"]), int(value["width"]))


def _centre_crop(frame: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    height, width = frame.shape[:2]
    if height < size[0] or width < size[1]:
        raise UserError(f"A frame of {height}x{width} is smaller than the crop {size[0]}x{size[1]}.")
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return frame[top : top + size[0], left : left + size[1]]
