"""What an experiment is scored from: its metrics, its videos by key, their features, and the items of scores.

Everything is described by key; nothing is read, encoded or measured here. That is the business of `scores`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from onaspr_core import generation
from onaspr_core.compute import Failure
from onaspr_core.evaluation.encoding import FeatureItem, text_item
from onaspr_core.evaluation.extractors import FeatureSet
from onaspr_core.evaluation.features import (
    FeatureSets,
    Items,
    feature_sets,
    generated_items,
    real_features,
)
from onaspr_core.evaluation.metrics import (
    VBENCH,
    Metric,
    Network,
    attribute_metrics,
    metric_named,
    metrics_of,
)
from onaspr_core.evaluation.scoring import ScoreItem, Side
from onaspr_core.evaluation.vbench import VBenchResults, read_vbench
from onaspr_core.prompts import Prompt, load_prompts
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class Made:
    """How a set of videos was made: a variant, under the settings of an experiment."""

    experiment: Experiment
    variant: str


@dataclass(frozen=True)
class Material:
    """What scores are computed from: metrics, items by set of videos and prompt, the real side, and prompts.

    The first set is what the others are compared with. `keys` are the videos themselves, in the form of
    `videos`. `existing` are the features that are there.
    """

    prompts: tuple[Prompt, ...]
    sets: FeatureSets
    metrics: tuple[Metric, ...]
    keys: Mapping[str, Mapping[str, str]]
    videos: Mapping[str, Mapping[str, Items]]
    texts: Mapping[str, FeatureItem]
    real: tuple[Items, ...]
    vbench: VBenchResults
    existing: frozenset[str] = frozenset()

    @property
    def networks(self) -> frozenset[Network]:
        """The networks that the metrics read: no other is shown a video."""
        return frozenset(metric.network for metric in self.metrics)

    def source(self, metric: Metric) -> FeatureSet | VBenchResults:
        """What a metric's numbers come from, by label, name and fingerprint."""
        if metric.network == "vbench":
            return self.vbench
        return self.sets.of([metric.network])[metric.network]

    @property
    def items(self) -> list[FeatureItem]:
        """Every feature that the metrics read."""
        generated = (items for variant in self.videos.values() for items in variant.values())
        videos = [item for items in (*generated, *self.real) for item in items.values()]
        return [*videos, *self.texts.values()]

    def side(self, name: str, metric: Metric) -> Side:
        """The videos of a set that a metric can be read from."""
        if metric.network == "vbench":
            found = self.vbench.dimensions[metric.key.removeprefix(VBENCH)]
            given = {prompt: found[key] for prompt, key in self.keys[name].items() if key in found}
            return Side(tuple(given), tuple(repr(value) for value in given.values()))
        pairs = [(prompt, items[metric.network].key) for prompt, items in self.videos[name].items()]
        there = [(prompt, key) for prompt, key in pairs if key in self.existing]
        return Side(tuple(prompt for prompt, _ in there), tuple(key for _, key in there))


def material_of(
    workspace: Workspace, e: Experiment, made: Mapping[str, Made]
) -> tuple[Material, list[Failure]]:
    """Describe what sets of videos are scored from, and name the videos that are missing.

    Raises:
        UserError: when prompts, neighbours or rewrites that a set needs have not been materialized.
    """
    prompts, sets = load_prompts(workspace, e), feature_sets(workspace, e)
    real = tuple(real_features(workspace, e, sets)) if e.evaluation.benchmark else ()
    vbench = read_vbench(workspace, e)
    metrics = _metrics(e, sets, prompts, vbench, with_real=bool(real))
    found = Material(tuple(prompts), sets, metrics, {}, {}, {}, real, vbench)
    keys: dict[str, dict[str, str]] = {}
    videos: dict[str, dict[str, Items]] = {}
    missing: list[Failure] = []
    noun = workspace.settings.backbones[e.backbone].noun
    for label, one in made.items():
        wanted = generation.video_items(workspace, one.experiment, one.variant)
        there = workspace.store.existing(VIDEO, [item.key for item in wanted])
        keys[label], videos[label] = {}, {}
        for item in wanted:
            name = f"{label} {item.prompt.id}"
            if item.key not in there:
                own = f"materialize {one.variant}_videos"
                remedy = own if label == one.variant else "what was made for it says why"
                missing.append(Failure(name, f"no {noun}; {remedy}"))
                continue
            keys[label][item.prompt.id] = item.key
            read = partial(generation.read_video, workspace, item.key)
            videos[label][item.prompt.id] = generated_items(sets, found.networks, name, item.key, read)
    asked = prompts if any("text" in metric.reads for metric in metrics) else []
    texts = {prompt.id: text_item(f"prompt {prompt.id}", prompt.text, sets.image_text) for prompt in asked}
    return replace(found, keys=keys, videos=videos, texts=texts), missing


def _metrics(
    e: Experiment, sets: FeatureSets, prompts: Sequence[Prompt], vbench: VBenchResults, *, with_real: bool
) -> tuple[Metric, ...]:
    """Every metric that can be measured at all: the chosen ones, the accuracies, VBench's dimensions."""
    images = sets.video is None
    chosen = metrics_of(images, e.evaluation.metrics)
    attributes = [dict(prompt.attributes) for prompt in prompts]
    metrics = [metric for metric in chosen if with_real or not metric.needs_real]
    metrics += attribute_metrics(sets.classifier.groups, attributes, images)
    if sets.classes:
        metrics = [replace(one, network="classes") if "classes" in one.reads else one for one in metrics]
    return (*metrics, *(metric_named(f"{VBENCH}{name}") for name in vbench.dimensions))


def score_items(e: Experiment, material: Material) -> list[ScoreItem]:
    """Every set of videos under every metric; of a dimension of VBench, those sets that it has results of."""
    groups = material.sets.classifier.groups
    attributes = {prompt.id: dict(prompt.attributes) for prompt in material.prompts}
    first, *_ = material.videos
    items = []
    for metric in material.metrics:
        real = tuple(one[metric.network].key for one in material.real) if metric.needs_real else ()
        baseline = material.side(first, metric)
        for variant in material.videos:
            own = material.side(variant, metric)
            if metric.network == "vbench" and not own.prompts:
                continue
            texts = {one: material.texts[one].key for one in own.prompts} if "text" in metric.reads else {}
            asked = {one: attributes[one] for one in own.prompts} if metric.is_accuracy else {}
            items.append(
                ScoreItem(
                    metric=metric,
                    variant=variant,
                    own=own,
                    baseline=None if variant == first else baseline,
                    real=tuple(key for key in real if key in material.existing),
                    texts=texts,
                    attributes=asked,
                    groups=groups if asked else (),
                    splits=e.evaluation.inception_splits,
                    samples=e.evaluation.bootstrap_samples,
                    seed=e.evaluation.seed,
                )
            )
    return items
