"""C3D, trained on UCF101: the network of the inception score of videos.

The arithmetic is that of TGAN2's evaluation (`tgan2/models/c3d/c3d_ucf101.py`), which the published scores
are computed with: frames are resized to 112 × 112 by bilinear interpolation with aligned corners, without
smoothing, in BGR, and the mean clip is taken off. Its weights come from one safetensors file
(`c3d_weights`). Reached only through `extractors.load`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import nn
from torch.nn import functional

from onaspr_core.devices import chosen_device
from onaspr_core.errors import UserError
from onaspr_core.evaluation.c3d_weights import CONVOLUTIONS, FRAMES, LINEAR, SIDE
from onaspr_core.evaluation.extractors import (
    Arrays,
    FeatureExtractor,
    FeatureSet,
    described_bytes,
    fit_frames,
    grouped_softmax,
    readable,
)
from onaspr_core.evaluation.torch_networks import WithoutText, as_array
from onaspr_core.media.video import Frames

POOLED = ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b")
"""Layers with pooling behind them: the first in space alone, the others in space and time."""


class C3D(nn.Module):
    """Eight convolutions and three linear layers (Tran et al. 2015)."""

    mean: torch.Tensor

    def __init__(self, widths: Mapping[str, int]) -> None:
        """Make the layers, each with the number of outputs that `widths` has under its name."""
        super().__init__()
        last = 3
        for name in CONVOLUTIONS:
            self.add_module(name, nn.Conv3d(last, widths[name], 3, padding=1))
            last = widths[name]
        last *= 4 * 4
        for name in LINEAR:
            self.add_module(name, nn.Linear(last, widths[name]))
            last = widths[name]
        self.register_buffer("mean", torch.zeros(3, FRAMES, SIDE, SIDE))

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, d) and logits (n, classes) of clips (n, 3, 16, 112, 112): BGR, 0 … 255."""
        hidden = clips - self.mean
        for name in CONVOLUTIONS:
            hidden = functional.relu(self.get_submodule(name)(hidden))
            if name in POOLED:
                # Caffe and Chainer let the last window hang over the edge: 7 becomes 4.
                size = (1, 2, 2) if name == POOLED[0] else (2, 2, 2)
                hidden = functional.max_pool3d(hidden, size, ceil_mode=True)
        hidden = functional.relu(self.get_submodule("fc6")(hidden.flatten(1)))
        features = functional.relu(self.get_submodule("fc7")(hidden))
        return features, self.get_submodule("fc8")(features)


def load(feature_set: FeatureSet, device: str) -> FeatureExtractor:
    """Load the network that `feature_set` describes; see `extractors.load`."""
    chosen = chosen_device(device)
    data = described_bytes(feature_set)
    with readable(feature_set):
        tensors = {name: tensor.float() for name, tensor in load_safetensors(data).items()}
        model = C3D({name: len(tensors[f"{name}.weight"]) for name in (*CONVOLUTIONS, *LINEAR)})
        model.load_state_dict(tensors)
    return C3DVideos(feature_set, model.to(chosen).eval(), chosen)


class C3DVideos(WithoutText):
    """Class probabilities of videos, and the last hidden layer as their feature.

    The network reads 16 frames; a video of another length is sampled evenly to it.
    """

    def __init__(self, feature_set: FeatureSet, model: C3D, device: str) -> None:
        """Take the loaded network; a UserError when it has other classes than UCF101's."""
        self.feature_set = feature_set
        self.model = model
        self.device = device
        self.width = int(cast("nn.Linear", model.fc7).out_features)
        classes, wanted = cast("nn.Linear", model.fc8).out_features, len(feature_set.groups[0].values)
        if classes != wanted:
            raise UserError(
                f"{feature_set.place} has {classes} classes, and UCF101 has {wanted}; give the network that "
                "was trained on UCF101."
            )

    @torch.inference_mode()
    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Per video, `features` (d,) and `probabilities/class` (101,)."""
        clips = torch.stack([clip_of(fit_frames(video, FRAMES)) for video in videos])
        features, logits = self.model(clips.to(self.device))
        arrays = {
            "features": as_array(features),
            **grouped_softmax(as_array(logits), self.feature_set.groups),
        }
        return [{name: array[i] for name, array in arrays.items()} for i in range(len(videos))]


def clip_of(frames: Frames) -> torch.Tensor:
    """Turn uint8 RGB (F, H, W, 3) into float32 BGR (3, F, 112, 112), 0 … 255."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=True)
    return resized.transpose(0, 1)
