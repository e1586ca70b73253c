"""Networks that features come from: one small protocol, and a network's description.

A `FeatureSet` describes a network without loading it (name, label, fingerprint); `load` gives the
`FeatureExtractor` itself. A folder holds a model of transformers; a file is one of those that the papers'
own metrics are computed on (`docs/metrics.md`). Which frames a network is shown is in `frame_sampling`, where
features are kept in `encoding`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.evaluation.frame_sampling import spread_evenly
from onaspr_core.evaluation.network_files import FILES, locate
from onaspr_core.evaluation.settings import NetworkSettings
from onaspr_core.evaluation.ucf101 import class_prompts
from onaspr_core.media.video import Frames
from onaspr_core.paths import file_sha256, folder_fingerprint

Arrays = dict[str, npt.NDArray[np.float32]]
Role = Literal["image classifier", "image-text model", "video classifier", "pixels"]

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

    `place` is its folder or file. `label` is what the user calls these features and decides nothing; scores
    on different fingerprints are not comparable. `sha256` is that of a file that is checked again when it
    is loaded.
    """

    role: Role
    architecture: str
    label: str
    place: Path
    fingerprint: str
    groups: tuple[LabelGroup, ...] = ()
    sha256: str | None = None

    @property
    def name(self) -> str:
        """Label and architecture, such as "miniature CLIPModel"."""
        return f"{self.label} {self.architecture}"


class FeatureExtractor(Protocol):
    """A loaded network. Every result is float32 and one dictionary per video, in order."""

    feature_set: FeatureSet

    @property
    def width(self) -> int:
        """How many values a feature has, d below."""
        ...

    def features(self, videos: Sequence[Frames]) -> list[Arrays]:
        """Features of videos, uint8 (F, H, W, 3) each, already sampled.

        `"features"` is (F, d) for image networks and (d,) for video networks; classifiers also give
        `"probabilities/GROUP"`, (F, classes) or (classes,).
        """
        ...

    def texts(self, texts: Sequence[str]) -> list[Arrays]:
        """`"features"` (d,) of each text; a UserError from networks that read none."""
        ...


def describe(role: Role, network: str | NetworkSettings, label: str, base: Path) -> FeatureSet:
    """Describe a network by its configuration and the hash of its files; nothing of it is run.

    `network` is a path as in settings, or a table with what pins it. Raises UserError for files that are
    not there or cannot be had, for an architecture that cannot serve in this role, and for a file that is
    not the pinned one, or is code and not pinned.
    """
    chosen = NetworkSettings(path=network) if isinstance(network, str) else network
    told = f"The {role} {chosen.path}"

    def check(folder: Path) -> None:
        _configured(role, told, folder)

    place = locate(told, chosen, base, check)
    if place.is_file() or place.suffix in FILES:
        return _of_file(role, told, chosen, label, place)
    architecture, config = _configured(role, told, place)
    groups = () if role == "image-text model" else _label_groups(config)
    return FeatureSet(role, architecture, label, place, _fingerprint(role, folder_fingerprint(place)), groups)


def _configured(role: Role, told: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Architecture and configuration of a transformers model."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(
            f"{told} has no config.json in {folder}; "
            "set evaluation.features to a folder that transformers' save_pretrained wrote."
        )
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    architecture = str(next(iter(config.get("architectures") or ["(none named)"])))
    known = ARCHITECTURES[role]
    if architecture not in known:
        raise UserError(
            f"{path}: architecture {architecture} cannot serve as {role}; allowed: {', '.join(known)}"
        )
    return architecture, config


def _of_file(role: Role, told: str, network: NetworkSettings, label: str, file: Path) -> FeatureSet:
    """Describe one of `SINGLE_FILES`, whose role and suffix say what it has to be."""
    served = {suffix: name for (of, suffix), name in SINGLE_FILES.items() if of == role}
    architecture = served.get(file.suffix)
    if architecture is None:
        allowed = " or ".join(["a folder", *(f"{suffix} ({name})" for suffix, name in served.items())])
        raise UserError(
            f"{told}: a {file.suffix or 'plain'} file cannot serve as {role}; allowed: {allowed}."
        )
    if not file.is_file():
        raise UserError(f"{told}: there is no file {file}; put it there, or name a URL with its sha256.")
    sha256 = file_sha256(file)
    if network.sha256 not in (None, sha256):
        raise UserError(
            f"{told} has SHA-256 {sha256}, and the settings pin {network.sha256}; put the pinned file there."
        )
    if PUBLISHED.get(sha256, architecture) != architecture:
        raise UserError(f"{told} is the published {PUBLISHED[sha256]}, which cannot serve as {role}.")
    if file.suffix == ".pt" and network.sha256 is None and sha256 not in PUBLISHED:
        raise UserError(
            f"{told} is code, and not a file that is known to be harmless; if you trust it, name it as "
            f'{{ path = …, sha256 = "{sha256}" }}.'
        )
    fingerprint = _fingerprint(role, sha256, architecture=architecture)
    return FeatureSet(role, architecture, label, file, fingerprint, (_classes(architecture),), sha256)


def _fingerprint(role: Role, files: str, **more: str) -> str:
    return content_key(
        "feature-extractor",
        role=role,
        files=files,
        resizing=ARITHMETIC[role],
        version=code_versions.FEATURES,
        **more,
    )


def _classes(architecture: str) -> LabelGroup:
    values = (
        tuple(class_prompts())
        if architecture == C3D
        else tuple(str(i) for i in range(NUMBERED_CLASSES[architecture]))
    )
    return LabelGroup("class", tuple(range(len(values))), values)


def is_shipped(feature_set: FeatureSet) -> bool:
    """Whether a network is the miniature's own, wherever its files lie and whatever its label says."""
    if feature_set.role not in SHIPPED:
        return False
    try:
        shipped = describe(feature_set.role, SHIPPED[feature_set.role], feature_set.label, Path())
    except UserError:
        return False
    return shipped.fingerprint == feature_set.fingerprint


def load(feature_set: FeatureSet, device: str = "auto") -> FeatureExtractor:
    """Load a described network for inference; `device` "auto" is a GPU where there is one.

    Raises UserError when its weights or its preprocessing cannot be read, and when its file is no longer
    the one that was described.
    """
    module = MODULES.get(feature_set.architecture, "transformers_models")
    loaded: FeatureExtractor = import_module(f"onaspr_core.evaluation.{module}").load(feature_set, device)
    return loaded


ARCHITECTURES: dict[Role, tuple[str, ...]] = {
    "image classifier": ("ResNetForImageClassification",),
    "image-text model": ("CLIPModel",),
    "video classifier": ("VideoMAEForVideoClassification",),
}
"""What each role can be, in a folder or of a hub."""

INCEPTION, I3D, C3D = "Inception-v3", "I3D", "C3D"
PIXELS = "pixel differences"

SINGLE_FILES: dict[tuple[Role, str], str] = {
    ("image classifier", ".pt"): INCEPTION,
    ("video classifier", ".pt"): I3D,
    ("video classifier", ".safetensors"): C3D,
}
"""What a file has to be, by role and suffix."""

MODULES = {INCEPTION: "torchscript_models", I3D: "torchscript_models", C3D: "c3d", PIXELS: "pixels"}
"""Where what is no model of transformers is loaded."""

NUMBERED_CLASSES = {INCEPTION: 1008, I3D: 400}
"""How many classes, named by their position: those of ImageNet as Inception counts them, of Kinetics-400."""

PUBLISHED = {
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4": INCEPTION,
    "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2": I3D,
}
"""TorchScript files that need no pin, by SHA-256: `inception-2015-12-05.pt`, `i3d_torchscript.pt`."""

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
    """Turn a library's complaint about a model's files into a sentence with their place in it."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as problem:
        remedy = "Put the files that save_pretrained wrote there, weights as safetensors."
        if feature_set.sha256 is not None:
            remedy = "Put the published file there (docs/metrics.md)."
        raise UserError(
            f"The {feature_set.role} in {feature_set.place} cannot be loaded: {problem}. {remedy}"
        ) from problem


def described_bytes(feature_set: FeatureSet) -> bytes:
    """Read a network's file, whole; a UserError when it is not the one that was described."""
    with readable(feature_set):
        data = feature_set.place.read_bytes()
    if hashlib.sha256(data).hexdigest() != feature_set.sha256:
        raise UserError(
            f"The {feature_set.role} in {feature_set.place} was replaced while it was in use; run again, and "
            "the file that is there now is looked at anew."
        )
    return data


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
