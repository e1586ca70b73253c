"""Networks that features come from: one small protocol, and the transformers models behind it.

A `FeatureSet` describes a network without loading it (name, label, fingerprint); `load` gives the
`FeatureExtractor` itself. Which frames it is shown and where features are kept is in `features`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.evaluation.frame_sampling import spread_evenly
from onaspr_core.paths import folder_fingerprint, resolve
from onaspr_core.video import Frames

Arrays = dict[str, npt.NDArray[np.float32]]
Role = Literal["image classifier", "image-text model", "video classifier"]

ARITHMETIC: dict[Role, Literal["float", "uint8"]] = {
    "image classifier": "float",
    "image-text model": "uint8",
    "video classifier": "uint8",
}
"""FID resizes in float as clean-fid does; CLIP and video networks in 8 bits as their own code does."""


@dataclass(frozen=True)
class LabelGroup:
    """Classes that exclude one another: positions in the logits, and the value that each stands for."""

    name: str
    positions: tuple[int, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class FeatureSet:
    """A network as its files describe it; nothing is loaded.

    `label` is what the user calls these features and decides nothing; scores on different fingerprints
    are not comparable.
    """

    role: Role
    architecture: str
    label: str
    folder: Path
    fingerprint: str
    groups: tuple[LabelGroup, ...] = ()

    @property
    def name(self) -> str:
        """Label and architecture, such as "miniature CLIPModel"."""
        return f"{self.label} {self.architecture}"


class FeatureExtractor(Protocol):
    """A loaded network. Every result is float32 and one dictionary per video, in order."""

    feature_set: FeatureSet

    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Features of videos, uint8 (F, H, W, 3) each, already sampled.

        `"features"` is (F, d) for image networks and (d,) for video networks; classifiers also give
        `"probabilities/GROUP"`, (F, classes) or (classes,).
        """
        ...

    def texts(self, texts: Sequence[str]) -> list[Arrays]:
        """`"features"` (d,) of each text; a UserError from networks that read none."""
        ...


def describe(role: Role, path: str, label: str, base: Path) -> FeatureSet:
    """Describe the network in a folder from its `config.json` and the hash of its files.

    `path` is a folder as in settings (`package:NAME/…` allowed). Raises UserError for a folder
    without `config.json` and for an architecture that this role has no code for.
    """
    folder = Path(resolve(path, base))
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise UserError(
            f"The {role} {path} has no config.json in {folder}; "
            "set evaluation.features to a folder that transformers' save_pretrained wrote."
        )
    config = json.loads(config_path.read_text(encoding="utf-8"))
    architecture = next(iter(config.get("architectures") or ["(none named)"]))
    known = ARCHITECTURES[role]
    if architecture not in known:
        raise UserError(
            f"{config_path}: architecture {architecture} cannot serve as {role}; allowed: {', '.join(known)}"
        )
    fingerprint = content_key(
        "feature-extractor",
        role=role,
        files=folder_fingerprint(folder),
        resizing=ARITHMETIC[role],
        version=code_versions.FEATURES,
    )
    groups = () if role == "image-text model" else _label_groups(config)
    return FeatureSet(role, architecture, label, folder, fingerprint, groups)


def is_shipped(feature_set: FeatureSet) -> bool:
    """Whether a network is the miniature's own, wherever its files lie and whatever its label says."""
    try:
        shipped = describe(feature_set.role, SHIPPED[feature_set.role], feature_set.label, Path())
    except UserError:
        return False
    return shipped.fingerprint == feature_set.fingerprint


def load(feature_set: FeatureSet, device: str = "auto") -> FeatureExtractor:
    """Load a described network for inference; `device` "auto" is a GPU where there is one.

    Raises UserError when its weights or its preprocessing cannot be read.
    """
    from onaspr_core.evaluation import transformers_models

    return transformers_models.load(feature_set, device)


ARCHITECTURES: dict[Role, tuple[str, ...]] = {
    "image classifier": ("ResNetForImageClassification",),
    "image-text model": ("CLIPModel",),
    "video classifier": ("VideoMAEForVideoClassification",),
}
"""What each role can be."""

SHIPPED: dict[Role, str] = {
    "image classifier": "package:onaspr_core/miniature/weights/image-classifier",
    "image-text model": "package:onaspr_core/miniature/weights/image-text",
    "video classifier": "package:onaspr_core/miniature/weights/video-classifier",
}
"""The miniature's networks: scores on them are comparable with nothing else."""


def fit_frames(frames: Frames, count: int) -> Frames:
    """A video of exactly `count` frames: itself, or frames spread evenly over it."""
    return frames if len(frames) == count else frames[list(spread_evenly(len(frames), count))]


def grouped_softmax(logits: npt.NDArray[np.float32], groups: Sequence[LabelGroup]) -> Arrays:
    """`probabilities/GROUP` of logits (…, classes): one softmax per group of labels."""
    result: Arrays = {}
    for group in groups:
        own = logits[..., list(group.positions)].astype(np.float64)
        weights = np.exp(own - own.max(axis=-1, keepdims=True))
        result[f"probabilities/{group.name}"] = (weights / weights.sum(axis=-1, keepdims=True)).astype(
            np.float32
        )
    return result


@contextmanager
def readable(feature_set: FeatureSet) -> Iterator[None]:
    """Turn a library's complaint about a model folder into a sentence with the folder in it."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise UserError(
            f"The {feature_set.role} in {feature_set.folder} cannot be loaded: {problem}. "
            "Put the files that save_pretrained wrote there, weights as safetensors."
        ) from problem


def _label_groups(config: dict[str, Any]) -> tuple[LabelGroup, ...]:
    """Labels like "colour:red" form groups in order of first appearance; other labels are one group."""
    labels = {int(position): str(text) for position, text in (config.get("id2label") or {}).items()}
    ordered = [labels[position] for position in sorted(labels)]
    if not ordered or not all(":" in text for text in ordered):
        return (LabelGroup("class", tuple(range(len(ordered))), tuple(ordered)),)
    split = [text.split(":", 1) for text in ordered]
    names = dict.fromkeys(name for name, _ in split)
    return tuple(
        LabelGroup(
            name,
            tuple(i for i, (owner, _) in enumerate(split) if owner == name),
            tuple(value for owner, value in split if owner == name),
        )
        for name in names
    )
