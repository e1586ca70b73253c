"""Feature items, and how those that are missing are made: each video is read once for all networks.

A feature's key is its video's key (or its file's SHA-256), the network's fingerprint and the frame rule:
no video is encoded twice, whatever experiment, variant or metric asks. Networks load only when something
is missing. Which items an experiment has is the concern of `features`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Maker, Outcome, run_items
from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import (
    Arrays,
    FeatureExtractor,
    FeatureSet,
    Role,
    load,
)
from onaspr_core.evaluation.frame_sampling import ALL_FRAMES, FrameRule
from onaspr_core.evaluation.real_frames import RealFrames, read_real
from onaspr_core.media.video import Frames
from onaspr_core.stored_kinds import FEATURES
from onaspr_core.workspace import Workspace

OF_WHOLE_VIDEOS: tuple[Role, ...] = ("video classifier", "pixels")
"""Roles that see a video's frames in their order, repeated ones as well."""


Read = Callable[[], Frames] | RealFrames
"""What gives the frames of a video."""


@dataclass(frozen=True)
class FeatureItem:
    """One video (or text) under one network; `read` gives its frames, `text` its words.

    Items of one video that stand side by side and share one `read` are read together. A real video is read in
    a process of its own.
    """

    name: str
    key: str
    source: str
    feature_set: FeatureSet
    rule: FrameRule | None = None
    read: Read | None = None
    text: str | None = None


def video_item(name: str, source: str, feature_set: FeatureSet, rule: FrameRule, read: Read) -> FeatureItem:
    """One video under one network and frame rule; `source` is its content key or SHA-256."""
    key = content_key(FEATURES, source=source, extractor=feature_set.fingerprint, frames=rule.name)
    return FeatureItem(name, key, source, feature_set, rule, read)


def text_item(name: str, text: str, feature_set: FeatureSet) -> FeatureItem:
    """One text under an image-text model."""
    key = content_key(FEATURES, text=text, extractor=feature_set.fingerprint)
    return FeatureItem(name, key, text, feature_set, text=text)


def make_features(workspace: Workspace, items: Sequence[FeatureItem], batch_size: int) -> Outcome:
    """Compute what is missing and sum up; a network is shown at most `batch_size` videos or texts at once.

    An unreadable video is one Failure. `models` names the networks that had to load.
    """
    loaded = len(workspace.models.loaded)
    outcome = run_items(
        "features",
        items,
        key=lambda item: item.key,
        name=lambda item: item.name,
        exists=lambda keys: workspace.store.existing(FEATURES, keys),
        open_maker=partial(_open_maker, workspace, batch_size),
        batch_size=batch_size * max(1, len({item.feature_set for item in items})),
        engine=workspace.engine,
    )
    models = workspace.models.loaded[loaded:]
    return replace(outcome, failures=tuple(dict.fromkeys(outcome.failures)), models=models)


@contextmanager
def _open_maker(workspace: Workspace, batch_size: int) -> Iterator[Maker[FeatureItem]]:
    def network(feature_set: FeatureSet) -> FeatureExtractor:
        model = f"{feature_set.name} {feature_set.fingerprint[:8]}"
        return workspace.models.get(model, lambda: load(feature_set))

    yield partial(_make, workspace, network, batch_size=batch_size)


@dataclass(frozen=True)
class _Sampled:
    """An item with its distinct frames (F, H, W, 3), and which of them the rule takes, in order."""

    item: FeatureItem
    frames: Frames
    positions: npt.NDArray[np.intp]


def _make(
    workspace: Workspace,
    network: Callable[[FeatureSet], FeatureExtractor],
    batch: Sequence[FeatureItem],
    batch_size: int,
) -> Iterable[Failure]:
    texts: dict[FeatureSet, list[FeatureItem]] = {}
    for item in batch:
        if item.text is not None:
            texts.setdefault(item.feature_set, []).append(item)
    for feature_set, own in texts.items():
        for start in range(0, len(own), batch_size):
            said = own[start : start + batch_size]
            yield from _store(workspace, said, network(feature_set).texts([one.text or "" for one in said]))
    videos: dict[FeatureSet, list[_Sampled]] = {}
    for found in _sampled(batch):
        if isinstance(found, Failure):
            yield found
        else:
            videos.setdefault(found.item.feature_set, []).append(found)
    for feature_set, shown in videos.items():
        for start in range(0, len(shown), batch_size):
            part = shown[start : start + batch_size]
            yield from _store(workspace, [one.item for one in part], _encode(network(feature_set), part))


def _sampled(batch: Sequence[FeatureItem]) -> Iterator[_Sampled | Failure]:
    """The frames that each video's rule takes; all its other frames are let go at once."""
    groups = [(read, list(own)) for read, own in itertools.groupby(batch, key=lambda item: item.read)]
    with closing(read_real([read for read, _ in groups if isinstance(read, RealFrames)])) as real:
        for read, own in groups:
            if read is None:
                continue
            try:
                frames = next(real) if isinstance(read, RealFrames) else read()
                if isinstance(frames, UserError):
                    raise frames
                yield from [_sample(item, frames) for item in own]
            except UserError as problem:
                yield Failure(own[0].name, str(problem))


def _sample(item: FeatureItem, frames: Frames) -> _Sampled:
    indices = (item.rule or ALL_FRAMES).indices(len(frames))
    distinct = sorted(set(indices))
    return _Sampled(item, frames[distinct], np.searchsorted(distinct, indices))


def _encode(extractor: FeatureExtractor, videos: Sequence[_Sampled]) -> list[Arrays]:
    """Features of the sampled frames; an image network encodes a frame that a rule repeats once."""
    if extractor.feature_set.role in OF_WHOLE_VIDEOS:
        return extractor.features([one.frames[one.positions] for one in videos])
    encoded = extractor.features([one.frames for one in videos])
    return [
        {name: array[one.positions] for name, array in arrays.items()}
        for one, arrays in zip(videos, encoded, strict=True)
    ]


def _store(
    workspace: Workspace, items: Sequence[FeatureItem], encoded: Sequence[Arrays]
) -> Iterable[Failure]:
    for item, arrays in zip(items, encoded, strict=True):
        if not all(np.isfinite(array).all() for array in arrays.values()):
            yield Failure(item.name, f"{item.feature_set.name} gave features that are not finite")
            continue
        record = {
            "source": item.source,
            "extractor": item.feature_set.name,
            "fingerprint": item.feature_set.fingerprint,
            "frames": item.rule.name if item.rule else "text",
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        workspace.store.write_tensors(FEATURES, item.key, contiguous, record)
