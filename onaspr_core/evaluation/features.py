"""Features of videos and prompts, computed once and kept in the store by content.

A feature's key is its video's key (or its file's SHA-256), the extractor's fingerprint and the frame
rule: no video is encoded twice, whatever experiment, variant or metric asks. Networks load only when
something is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import gcd

import numpy as np
import numpy.typing as npt

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Maker, Outcome, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmarks import NO_BENCHMARK, real_videos
from onaspr_core.evaluation.extractors import Arrays, FeatureExtractor, FeatureSet, describe, load
from onaspr_core.evaluation.frame_sampling import (
    ALL_FRAMES,
    FID_GENERATED,
    FID_REAL,
    FVD_REAL_STRIDE,
    FrameRule,
    fvd_real,
)
from onaspr_core.settings import Experiment
from onaspr_core.video import read_frames
from onaspr_core.workspace import Workspace

KIND = "features"
Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FeatureSets:
    """The three networks of an experiment, described and not loaded."""

    image: FeatureSet
    image_text: FeatureSet
    video: FeatureSet

    def __iter__(self) -> Iterator[FeatureSet]:
        """Image classifier, image-text model, video classifier."""
        return iter((self.image, self.image_text, self.video))


@dataclass(frozen=True)
class RealShape:
    """The shape of the generated videos, which real ones are sampled and cropped to.

    `fvd_stride` is how many real frames pass between two that FVD sees.
    """

    frames: int
    height: int
    width: int
    fvd_stride: int = FVD_REAL_STRIDE

    @property
    def fvd_rule(self) -> FrameRule:
        """FVD's frames of a real video."""
        return fvd_real(self.frames, self.fvd_stride)

    @property
    def crop(self) -> str:
        """The crop in words that never change, for content keys."""
        divisor = gcd(self.height, self.width)
        return f"centre crop {self.width // divisor}:{self.height // divisor}"


@dataclass(frozen=True)
class FeatureItem:
    """One video (or text) under one network; `read` gives its frames, `text` its words."""

    name: str
    key: str
    source: str
    feature_set: FeatureSet
    rule: FrameRule | None = None
    read: Callable[[], Frames] | None = None
    text: str | None = None


def feature_sets(workspace: Workspace, e: Experiment) -> FeatureSets:
    """The networks that the experiment's settings name. Raises UserError when one is not there."""
    chosen, base = e.evaluation.features, workspace.settings.base
    return FeatureSets(
        describe("image classifier", chosen.image_classifier, chosen.label, base),
        describe("image-text model", chosen.image_text, chosen.label, base),
        describe("video classifier", chosen.video_classifier, chosen.label, base),
    )


def generated_items(
    sets: FeatureSets, name: str, video_key: str, read: Callable[[], Frames]
) -> tuple[FeatureItem, FeatureItem, FeatureItem]:
    """The features of one generated video: FID's five frames, all frames for CLIP, the whole video."""
    return (
        video_item(name, video_key, sets.image, FID_GENERATED, read),
        video_item(name, video_key, sets.image_text, ALL_FRAMES, read),
        video_item(name, video_key, sets.video, ALL_FRAMES, read),
    )


def real_items(
    sets: FeatureSets, name: str, sha256: str, shape: RealShape, read: Callable[[], Frames]
) -> tuple[FeatureItem, FeatureItem, FeatureItem]:
    """The features of one real video at the real side's frame rules, cropped to the generated shape."""
    source = f"{sha256} {shape.crop}"

    def cropped() -> Frames:
        return crop_to_aspect(read(), shape.height, shape.width)

    return (
        video_item(name, source, sets.image, FID_REAL, cropped),
        video_item(name, source, sets.image_text, FID_REAL, cropped),
        video_item(name, source, sets.video, shape.fvd_rule, cropped),
    )


def reference_features(workspace: Workspace, e: Experiment) -> Outcome:
    """Features of the real side under the experiment's three networks; each file is encoded once.

    Raises UserError when the benchmark has not been ingested.
    """
    if e.evaluation.benchmark is None:
        return Outcome(version_of([]), 0, 0, 0, facts={"benchmark": NO_BENCHMARK})
    sets = feature_sets(workspace, e)
    videos = real_features(workspace, e, sets)
    if not videos:
        raise UserError(
            f"Experiment {e.name} has a benchmark and none of its videos is in the catalog; "
            "materialize benchmark_videos first and read what it reports as missing."
        )
    items = [item for video in videos for item in video]
    outcome = make_features(workspace, items, e.evaluation.batch_size)
    return replace(
        outcome,
        facts={
            "real_videos": len(videos),
            "feature_sets": ", ".join(one.name for one in sets),
            "fvd_frames": real_shape(workspace, e).fvd_rule.name,
        },
    )


def real_features(
    workspace: Workspace, e: Experiment, sets: FeatureSets
) -> list[tuple[FeatureItem, FeatureItem, FeatureItem]]:
    """The feature items of every real video: image classifier, image-text model, video classifier."""
    shape = real_shape(workspace, e)
    limit = max(FID_REAL.last_index, shape.fvd_rule.last_index) + 1
    return [
        real_items(sets, video.id, video.sha256, shape, partial(read_frames, video.path, limit=limit))
        for video in real_videos(workspace, e)
    ]


def real_shape(workspace: Workspace, e: Experiment) -> RealShape:
    """What real videos are sampled and cropped to: the shape of the experiment's backbone."""
    backbone = workspace.settings.backbones[e.backbone]
    benchmark = e.evaluation.benchmark
    stride = benchmark.fvd_stride if benchmark is not None else FVD_REAL_STRIDE
    return RealShape(backbone.frames, backbone.height, backbone.width, stride)


def crop_to_aspect(frames: Frames, height: int, width: int) -> Frames:
    """The largest centre crop of uint8 (F, H, W, 3) with the aspect ratio of `height` : `width`.

    Real videos are wider than generated ones; compared as they are, a network that reads squares would
    see the one side squashed. Nothing is resized here.
    """
    high, wide = frames.shape[1:3]
    new_high, new_wide = min(high, wide * height // width), min(wide, high * width // height)
    top, left = (high - new_high) // 2, (wide - new_wide) // 2
    return frames[:, top : top + new_high, left : left + new_wide]


def video_item(
    name: str, source: str, feature_set: FeatureSet, rule: FrameRule, read: Callable[[], Frames]
) -> FeatureItem:
    """One video under one network and frame rule; `source` is its content key or SHA-256."""
    key = content_key(KIND, source=source, extractor=feature_set.fingerprint, frames=rule.name)
    return FeatureItem(name, key, source, feature_set, rule, read)


def text_item(name: str, text: str, feature_set: FeatureSet) -> FeatureItem:
    """One text under an image-text model."""
    key = content_key(KIND, text=text, extractor=feature_set.fingerprint)
    return FeatureItem(name, key, text, feature_set, text=text)


def make_features(workspace: Workspace, items: Sequence[FeatureItem], batch_size: int) -> Outcome:
    """Compute what is missing, network by network, and sum up.

    An unreadable video is a Failure under each network. `models` names the networks that had to load.
    """
    by_set: dict[FeatureSet, list[FeatureItem]] = {}
    for item in items:
        by_set.setdefault(item.feature_set, []).append(item)
    return merge([_run_one(workspace, s, own, batch_size) for s, own in by_set.items()])


def merge(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome for several that ran one after another; facts and previews are the caller's."""
    return Outcome(
        version=version_of([one.version for one in outcomes]),
        total=sum(one.total for one in outcomes),
        computed=sum(one.computed for one in outcomes),
        reused=sum(one.reused for one in outcomes),
        failures=tuple(dict.fromkeys(failure for one in outcomes for failure in one.failures)),
        seconds=sum(one.seconds for one in outcomes),
        models=tuple(dict.fromkeys(model for one in outcomes for model in one.models)),
    )


def _run_one(
    workspace: Workspace, feature_set: FeatureSet, items: Sequence[FeatureItem], batch_size: int
) -> Outcome:
    loaded: list[str] = []

    @contextmanager
    def open_maker() -> Iterator[Maker[FeatureItem]]:
        model = f"{feature_set.name} {feature_set.fingerprint[:8]}"
        extractor = workspace.models.get(model, lambda: load(feature_set))
        loaded.append(model)
        yield lambda batch: _make(workspace, extractor, batch)

    outcome = run_items(
        f"{feature_set.name} features",
        items,
        key=lambda item: item.key,
        name=lambda item: item.name,
        exists=lambda keys: workspace.store.existing(KIND, keys),
        open_maker=open_maker,
        batch_size=batch_size,
    )
    return replace(outcome, models=tuple(loaded))


def _make(
    workspace: Workspace, extractor: FeatureExtractor, batch: Sequence[FeatureItem]
) -> Iterable[Failure]:
    texts = [item for item in batch if item.text is not None]
    yield from _store(workspace, texts, extractor.texts([item.text or "" for item in texts]) if texts else [])
    readable: list[tuple[FeatureItem, Frames, tuple[int, ...]]] = []
    for item in batch:
        if item.read is None or item.rule is None:
            continue
        try:
            frames = item.read()
            readable.append((item, frames, item.rule.indices(len(frames))))
        except UserError as problem:
            yield Failure(item.name, str(problem))
    if readable:
        yield from _store(workspace, [item for item, _, _ in readable], _encode(extractor, readable))


def _encode(
    extractor: FeatureExtractor, videos: Sequence[tuple[FeatureItem, Frames, tuple[int, ...]]]
) -> list[Arrays]:
    """Features of the sampled frames; a frame that a rule repeats is encoded once."""
    if extractor.feature_set.role == "video classifier":
        return extractor.features([frames[list(indices)] for _, frames, indices in videos])
    distinct = [sorted(set(indices)) for _, _, indices in videos]
    encoded = extractor.features([frames[own] for (_, frames, _), own in zip(videos, distinct, strict=True)])
    return [
        {name: array[np.searchsorted(own, indices)] for name, array in arrays.items()}
        for (_, _, indices), own, arrays in zip(videos, distinct, encoded, strict=True)
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
        workspace.store.write_tensors(KIND, item.key, contiguous, record)
