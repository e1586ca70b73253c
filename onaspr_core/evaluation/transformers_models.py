"""The feature extractors that transformers runs: ResNet, CLIP and VideoMAE from a saved folder.

Reached only through `extractors.load`, so that describing a network imports neither torch nor
transformers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    CLIPModel,
    ResNetForImageClassification,
    VideoMAEForVideoClassification,
)

from onaspr_core.devices import chosen_device
from onaspr_core.evaluation.extractors import (
    ARITHMETIC,
    Arrays,
    FeatureExtractor,
    FeatureSet,
    fit_frames,
    grouped_softmax,
    readable,
)
from onaspr_core.evaluation.preprocessing import Preprocessing, read_preprocessing
from onaspr_core.evaluation.torch_networks import WithoutText, as_array
from onaspr_core.media.video import Frames


def load(feature_set: FeatureSet, device: str) -> FeatureExtractor:
    """Load the network that `feature_set` describes; see `extractors.load`."""
    chosen = chosen_device(device)
    preprocessing = read_preprocessing(feature_set.place, ARITHMETIC[feature_set.role])
    with readable(feature_set):
        return _CLASSES[feature_set.architecture](feature_set, preprocessing, chosen)


class _Classifier(WithoutText):
    """What image and video classifiers share: the classification layer's input is the feature."""

    def __init__(
        self, feature_set: FeatureSet, preprocessing: Preprocessing, model: Any, device: str
    ) -> None:
        self.feature_set = feature_set
        self.preprocessing = preprocessing
        self.device = device
        self.model = model.to(device).eval()

    @property
    def width(self) -> int:
        """Width of the last hidden layer."""
        config = self.model.config
        sizes = getattr(config, "hidden_sizes", None)
        return int(sizes[-1] if sizes else config.hidden_size)

    @torch.inference_mode()
    def _classify(self, pixels: torch.Tensor) -> Arrays:
        """Features (n, d) and probabilities (n, classes) of model inputs (n, …)."""
        pooled: list[torch.Tensor] = []
        hook = self.model.classifier.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
        try:
            logits = self.model(pixel_values=pixels.to(self.device)).logits
        finally:
            hook.remove()
        probabilities = grouped_softmax(as_array(logits), self.feature_set.groups)
        return {"features": as_array(pooled[0].flatten(1)), **probabilities}


class ImageClassifier(_Classifier):
    """`ResNetForImageClassification`: globally pooled activations of each frame."""

    def __init__(self, feature_set: FeatureSet, preprocessing: Preprocessing, device: str) -> None:
        """Load the weights from the folder."""
        model = _pretrained(ResNetForImageClassification, feature_set)
        super().__init__(feature_set, preprocessing, model, device)

    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Per video, `features` (F, d) and `probabilities/GROUP` (F, classes)."""
        arrays = self._classify(torch.cat([self.preprocessing(video) for video in videos]))
        return _per_video(arrays, [len(video) for video in videos])


class VideoClassifier(_Classifier):
    """`VideoMAEForVideoClassification`: pooled hidden state of each video.

    The network reads a fixed number of frames; a video of another length is sampled evenly to it.
    """

    def __init__(self, feature_set: FeatureSet, preprocessing: Preprocessing, device: str) -> None:
        """Load the weights from the folder."""
        model = _pretrained(VideoMAEForVideoClassification, feature_set)
        super().__init__(feature_set, preprocessing, model, device)

    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Per video, `features` (d,) and `probabilities/GROUP` (classes,)."""
        count = int(self.model.config.num_frames)
        arrays = self._classify(torch.stack([self.preprocessing(fit_frames(v, count)) for v in videos]))
        return [{name: array[i] for name, array in arrays.items()} for i in range(len(videos))]


class ImageText:
    """`CLIPModel`: projected image embeddings of frames and projected text embeddings, not normalised."""

    def __init__(self, feature_set: FeatureSet, preprocessing: Preprocessing, device: str) -> None:
        """Load weights and tokenizer from the folder."""
        self.feature_set = feature_set
        self.preprocessing = preprocessing
        self.device = device
        model = _pretrained(CLIPModel, feature_set)
        self.model = model.to(device).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(feature_set.place, local_files_only=True)

    @property
    def width(self) -> int:
        """Width of the joint space of images and texts."""
        return int(self.model.config.projection_dim)

    @torch.inference_mode()
    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Per video, `features` (F, d)."""
        pixels = torch.cat([self.preprocessing(video) for video in videos]).to(self.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        arrays = {"features": as_array(self.model.visual_projection(pooled))}
        return _per_video(arrays, [len(video) for video in videos])

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> list[Arrays]:
        """Per text, `features` (d,); a text longer than the model's context is cut at its end."""
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.device)
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return [{"features": row} for row in as_array(self.model.text_projection(pooled))]


_CLASSES: dict[str, Callable[[FeatureSet, Preprocessing, str], FeatureExtractor]] = {
    "ResNetForImageClassification": ImageClassifier,
    "CLIPModel": ImageText,
    "VideoMAEForVideoClassification": VideoClassifier,
}


def _pretrained(model_class: Any, feature_set: FeatureSet) -> Any:
    """Load weights in float32 whatever they were saved in: half precision would move scores."""
    return model_class.from_pretrained(
        feature_set.place, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )


def _per_video(arrays: Arrays, lengths: Sequence[int]) -> list[Arrays]:
    bounds = np.cumsum([0, *lengths])
    return [
        {name: array[low:high] for name, array in arrays.items()} for low, high in itertools.pairwise(bounds)
    ]
