"""Which features an experiment needs: its networks, and the items of generated and real videos.

An experiment of images has no video classifier: an image is one row of FID, and there is no FVD.

How items are keyed, made and kept is the concern of `encoding`, which frames they are of that of
`frame_sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from math import gcd
from typing import get_args

from onaspr_core.compute import Outcome, version_of
from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmarks import NO_BENCHMARK, RealVideo, real_videos
from onaspr_core.evaluation.encoding import FeatureItem, make_features, video_item
from onaspr_core.evaluation.extractors import FeatureSet, describe
from onaspr_core.evaluation.frame_sampling import (
    ALL_FRAMES,
    FID_GENERATED,
    FID_REAL,
    FID_REAL_BESIDE_IMAGES,
    FVD_REAL_STRIDE,
    FrameRule,
    fvd_real,
)
from onaspr_core.evaluation.metrics import Network, metrics_of
from onaspr_core.evaluation.pixels import describe_pixels
from onaspr_core.evaluation.real_frames import RealFrames
from onaspr_core.media.video import Frames
from onaspr_core.settings import Experiment, NetworkSettings
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class FeatureSets:
    """The networks of an experiment, described and not loaded.

    `video` is None where it makes images. `classes` is what class probabilities of videos are read from, None
    where that is `video`. `pixels` is there where a chosen metric reads them. No real video is shown to these
    two.
    """

    image: FeatureSet
    image_text: FeatureSet
    video: FeatureSet | None
    classes: FeatureSet | None = None
    pixels: FeatureSet | None = None

    def __iter__(self) -> Iterator[FeatureSet]:
        """Image classifier, image-text model, and of video classifiers and pixels those that there are."""
        return iter(self.of(get_args(Network)).values())

    def of(self, networks: Collection[Network]) -> dict[Network, FeatureSet]:
        """Those of some networks that there are, in the order of iteration."""
        named: dict[Network, FeatureSet | None] = {
            "image": self.image,
            "image_text": self.image_text,
            "video": self.video,
            "classes": self.classes,
            "pixels": self.pixels,
        }
        return {name: one for name, one in named.items() if one is not None and name in networks}

    @property
    def classifier(self) -> FeatureSet:
        """The network that the inception score and accuracies are read from."""
        return self.classes or self.video or self.image


Items = dict[Network, FeatureItem]
"""The features of one video, by what reads them."""


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
    def fid_rule(self) -> FrameRule:
        """FID's frames of a real video."""
        return FID_REAL_BESIDE_IMAGES if self.frames == 1 else FID_REAL

    @property
    def fvd_rule(self) -> FrameRule:
        """FVD's frames of a real video."""
        return fvd_real(self.frames, self.fvd_stride)

    @property
    def crop(self) -> str:
        """The crop in words that never change, for content keys."""
        divisor = gcd(self.height, self.width)
        return f"centre crop {self.width // divisor}:{self.height // divisor}"


def feature_sets(workspace: Workspace, e: Experiment) -> FeatureSets:
    """The networks that the experiment's settings name. Raises UserError when one is not there."""
    chosen, base = e.evaluation.features, workspace.settings.base

    def of_videos(network: str | NetworkSettings | None) -> FeatureSet | None:
        return None if network is None else describe("video classifier", network, chosen.label, base)

    images = workspace.settings.backbones[e.backbone].makes_images
    metrics = metrics_of(images, e.evaluation.metrics)
    video, classes = of_videos(chosen.video_classifier), of_videos(chosen.inception_score_network)
    return FeatureSets(
        describe("image classifier", chosen.image_classifier, chosen.label, base),
        describe("image-text model", chosen.image_text, chosen.label, base),
        video,
        None if video and classes and classes.fingerprint == video.fingerprint else classes,
        describe_pixels() if any(one.network == "pixels" for one in metrics) else None,
    )


def generated_items(
    sets: FeatureSets,
    networks: Collection[Network],
    name: str,
    video_key: str,
    read: Callable[[], Frames],
) -> Items:
    """One generated video under some networks: five frames for FID, all of them for the others."""
    fid = FID_GENERATED if sets.video else ALL_FRAMES
    return {
        network: video_item(name, video_key, one, fid if network == "image" else ALL_FRAMES, read)
        for network, one in sets.of(networks).items()
    }


def real_items(
    sets: FeatureSets,
    networks: Collection[Network],
    video: RealVideo,
    shape: RealShape,
    limit: int,
) -> Items:
    """One real video under some networks at the real side's frame rules, cropped to the generated shape.

    Rules see no frame behind the first `limit`.
    """
    source = f"{video.sha256} {shape.crop}"
    read = RealFrames(video.path, limit, video.sha256, (shape.height, shape.width))
    return {
        network: video_item(
            video.id, source, one, shape.fvd_rule if network == "video" else shape.fid_rule, read
        )
        for network, one in sets.of(networks).items()
    }


def networks_of_real(sets: FeatureSets, e: Experiment) -> frozenset[Network]:
    """The networks that real videos are shown to: those of chosen metrics that need a real side."""
    chosen = metrics_of(sets.video is None, e.evaluation.metrics)
    return frozenset(one.network for one in chosen if one.needs_real)


def reference_features(workspace: Workspace, e: Experiment) -> Outcome:
    """Features of the real side under the networks that chosen metrics read; each file is encoded once.

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
    items = [item for video in videos for item in video.values()]
    outcome = make_features(workspace, items, e.evaluation.batch_size)
    read = sets.of(networks_of_real(sets, e))
    facts = {"real_videos": len(videos), "feature_sets": ", ".join(one.name for one in read.values())}
    if "video" in read:
        facts["fvd_frames"] = real_shape(workspace, e).fvd_rule.name
    return replace(outcome, facts=facts)


def real_features(workspace: Workspace, e: Experiment, sets: FeatureSets) -> list[Items]:
    """The feature items of every real video, under the networks that chosen metrics read of it.

    Reading one whose bytes are no longer those that `ingest_benchmark` noted is a UserError: its features
    would be kept under the content of another video.
    """
    shape = real_shape(workspace, e)
    fid, fvd = shape.fid_rule, shape.fvd_rule
    limit, networks = max(fid.last_index, fvd.last_index) + 1, networks_of_real(sets, e)
    return [real_items(sets, networks, video, shape, limit) for video in real_videos(workspace, e)]


def real_shape(workspace: Workspace, e: Experiment) -> RealShape:
    """What real videos are sampled and cropped to: the shape of the experiment's backbone."""
    backbone = workspace.settings.backbones[e.backbone]
    benchmark = e.evaluation.benchmark
    stride = benchmark.fvd_stride if benchmark is not None else FVD_REAL_STRIDE
    return RealShape(backbone.frames, backbone.height, backbone.width, stride)
