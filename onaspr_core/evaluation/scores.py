"""The stage that scores an experiment: four variants under every metric, made once and kept.

An item is one metric of one variant; its key is made of feature keys and evaluation settings, so a
second run computes nothing and a changed video is the only one encoded again. Missing videos are
counted and named, and n is part of every score.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from onaspr_core import generation
from onaspr_core.compute import Failure, Maker, Outcome, Preview, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.evaluation.comparisons import by_prompt
from onaspr_core.evaluation.encoding import KIND as FEATURES
from onaspr_core.evaluation.encoding import FeatureItem, make_features, merge, text_item
from onaspr_core.evaluation.extractors import FeatureSet
from onaspr_core.evaluation.features import (
    FeatureSets,
    Items,
    feature_sets,
    generated_items,
    real_features,
)
from onaspr_core.evaluation.metrics import Network, attribute_metrics, metrics_of
from onaspr_core.evaluation.score_layout import markdown_table
from onaspr_core.evaluation.score_notes import Told, notes, shortage_of
from onaspr_core.evaluation.score_table import (
    Score,
    ScoreTable,
    keep_scores,
    prompt_scores_of,
    scores_of,
)
from onaspr_core.evaluation.scoring import KIND, Measured, ScoreItem, Scorer, Side
from onaspr_core.prompts import Prompt, load_prompts
from onaspr_core.settings import Experiment
from onaspr_core.variants import BASELINE, VARIANTS
from onaspr_core.workspace import Workspace

__all__ = ["Score", "ScoreTable", "prompt_scores_of", "score_experiment", "scores_of"]


@dataclass(frozen=True)
class _Material:
    """What scores are computed from: items by variant and prompt, the real side, and the prompts."""

    prompts: tuple[Prompt, ...]
    sets: FeatureSets
    videos: Mapping[str, Mapping[str, Items]]
    texts: Mapping[str, FeatureItem]
    real: tuple[Items, ...]
    existing: frozenset[str] = frozenset()

    def side(self, variant: str, network: Network) -> Side:
        """The videos of a variant that have features under a network."""
        pairs = [(prompt, items[network].key) for prompt, items in self.videos[variant].items()]
        there = [(prompt, key) for prompt, key in pairs if key in self.existing]
        return Side(tuple(prompt for prompt, _ in there), tuple(key for _, key in there))


def score_experiment(workspace: Workspace, e: Experiment) -> Outcome:
    """Score all variants: features of what is missing, then scores of what is missing.

    Counts are of features and scores together; the version is that of the score items and of the whole
    table, labels and notes included. A video that is missing or unreadable, and a score that cannot be
    computed, are Failures. Facts count prompts, scores, features, real videos and missing videos of all
    variants together; the preview is the table.
    """
    material, missing = _material(workspace, e)
    features = make_features(workspace, _all_items(material), e.evaluation.batch_size)
    keys = [item.key for item in _all_items(material)]
    material = replace(material, existing=frozenset(workspace.store.existing(FEATURES, keys)))
    items = _score_items(e, material)
    scores = _run(workspace, items)
    table = _table(workspace, e, material, items, missing)
    _keep(workspace, e, table, items)
    found = merge([features, scores])
    facts = {
        "prompts": len(material.prompts),
        "scores": len(table.scores),
        "features_computed": features.computed,
        "missing_videos": len(missing),
        "real_videos": len(material.real),
        "feature_sets": ", ".join(one.name for one in material.sets),
        "notes": "; ".join(table.notes),
    }
    failures = (*missing, *found.failures)
    version = version_of([scores.version, table.key])
    return replace(
        found, version=version, failures=failures, facts=facts, preview=Preview(markdown_table(table))
    )


def _material(workspace: Workspace, e: Experiment) -> tuple[_Material, list[Failure]]:
    """Describe everything by key; nothing is read or loaded."""
    prompts, sets = load_prompts(workspace, e), feature_sets(workspace, e)
    videos: dict[str, dict[str, Items]] = {}
    missing: list[Failure] = []
    noun = workspace.settings.backbones[e.backbone].noun
    for variant in VARIANTS:
        wanted = generation.video_items(workspace, e, variant)
        there = workspace.store.existing(generation.KIND, [item.key for item in wanted])
        videos[variant] = {}
        for item in wanted:
            name = f"{variant} {item.prompt.id}"
            if item.key not in there:
                missing.append(Failure(name, f"no {noun}; materialize {variant}_videos"))
                continue
            read = partial(generation.read_video, workspace, item.key)
            videos[variant][item.prompt.id] = generated_items(sets, name, item.key, read)
    texts = {prompt.id: text_item(f"prompt {prompt.id}", prompt.text, sets.image_text) for prompt in prompts}
    real = tuple(real_features(workspace, e, sets)) if e.evaluation.benchmark else ()
    return _Material(tuple(prompts), sets, videos, texts, real), missing


def _all_items(material: _Material) -> list[FeatureItem]:
    generated = (items for variant in material.videos.values() for items in variant.values())
    videos = [item for items in (*generated, *material.real) for item in items.values()]
    return [*videos, *material.texts.values()]


def _score_items(e: Experiment, material: _Material) -> list[ScoreItem]:
    """Every variant under every metric that can be measured at all."""
    groups, images = material.sets.classifier.groups, material.sets.video is None
    attributes = {prompt.id: dict(prompt.attributes) for prompt in material.prompts}
    chosen = metrics_of(images, e.evaluation.metrics)
    metrics = [metric for metric in chosen if material.real or not metric.needs_real]
    metrics += attribute_metrics(groups, list(attributes.values()), images)
    if material.sets.classes:
        metrics = [replace(one, network="classes") if "classes" in one.reads else one for one in metrics]
    items = []
    for metric in metrics:
        real = tuple(one[metric.network].key for one in material.real) if metric.needs_real else ()
        baseline = material.side(BASELINE, metric.network)
        for variant in VARIANTS:
            own = material.side(variant, metric.network)
            first = variant == BASELINE
            texts = {one: material.texts[one].key for one in own.prompts} if "text" in metric.reads else {}
            asked = {one: attributes[one] for one in own.prompts} if metric.is_accuracy else {}
            items.append(
                ScoreItem(
                    metric=metric,
                    variant=variant,
                    own=own,
                    baseline=None if first else baseline,
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


def _run(workspace: Workspace, items: Sequence[ScoreItem]) -> Outcome:
    @contextmanager
    def open_maker() -> Iterator[Maker[ScoreItem]]:
        scorer = Scorer(partial(workspace.store.read_tensors, FEATURES))
        yield lambda batch: _measure(workspace, scorer, batch)

    return run_items(
        "scores",
        items,
        key=lambda item: item.key,
        name=lambda item: item.name,
        exists=lambda keys: workspace.store.existing(KIND, keys),
        open_maker=open_maker,
    )


def _measure(workspace: Workspace, scorer: Scorer, batch: Sequence[ScoreItem]) -> Iterable[Failure]:
    for item in batch:
        try:
            measured = scorer.measure(item)
        except UserError as problem:
            yield Failure(item.name, str(problem))
            continue
        record = {"metric": item.metric.key, "n": len(item.own.prompts), "n_real": len(item.real)}
        workspace.store.write_json(KIND, item.key, asdict(measured), record)


def _table(
    workspace: Workspace,
    e: Experiment,
    material: _Material,
    items: Sequence[ScoreItem],
    missing: Sequence[Failure],
) -> ScoreTable:
    existing = workspace.store.existing(KIND, [item.key for item in items])
    found = [
        (item, Measured(**workspace.store.read_json(KIND, item.key)))
        for item in items
        if item.key in existing
    ]
    baselines = {item.metric.key: measured for item, measured in found if item.variant == BASELINE}
    scores = tuple(
        _score(item, measured, baselines.get(item.metric.key), material) for item, measured in found
    )
    told = Told(
        e,
        material.sets,
        len(material.prompts),
        len(material.real),
        len(missing),
        shortage_of(workspace, e),
        computed=tuple(item.metric for item, _ in found),
        lost=tuple(item.name for item in items if item.key not in existing),
    )
    return ScoreTable(e.name, len(material.prompts), scores, tuple(notes(told)))


def _score(item: ScoreItem, measured: Measured, baseline: Measured | None, material: _Material) -> Score:
    sets, prompts = material.sets, len(material.prompts)
    network: FeatureSet = getattr(sets, item.metric.network)
    return Score(
        variant=item.variant,
        metric=item.metric.key,
        value=measured.value,
        spread=measured.spread,
        n=len(item.own.prompts),
        n_real=len(item.real),
        missing=prompts - len(item.own.prompts),
        rows=measured.rows,
        rows_real=measured.rows_real,
        splits=item.splits if "splits" in item.metric.reads else None,
        label=network.label,
        extractor=network.name,
        fingerprint=network.fingerprint,
        difference=measured.difference,
        low=measured.low,
        high=measured.high,
        p_value=measured.p_value,
        n_paired=measured.n_paired,
        interval=measured.interval,
        key=item.key,
        caution=measured.caution,
        **_by_prompt(item, measured, baseline),
    )


def _by_prompt(item: ScoreItem, own: Measured, baseline: Measured | None) -> dict[str, Any]:
    """Win rate and prompts needed of a per-prompt metric that is compared; they follow from what is kept."""
    if not item.metric.per_prompt or own.difference is None or baseline is None:
        return {}
    shared = own.per_prompt.keys() & baseline.per_prompt.keys()
    differences = [own.per_prompt[one] - baseline.per_prompt[one] for one in sorted(shared)]
    found = by_prompt(differences, lower_is_better=item.metric.lower_is_better)
    wins = found.wins
    return {
        "wins": wins.estimate,
        "wins_low": wins.low,
        "wins_high": wins.high,
        "prompts_needed": found.prompts_needed,
    }


def _keep(workspace: Workspace, e: Experiment, table: ScoreTable, items: Sequence[ScoreItem]) -> None:
    """Bring the catalog up to date; equal scores are left alone."""
    if scores_of(workspace, e) == table:
        return
    by_name = {(item.variant, item.metric.key): item for item in items if item.metric.per_prompt}
    rows = [
        (score.variant, score.metric, prompt, value)
        for score in table.scores
        if (score.variant, score.metric) in by_name
        for prompt, value in workspace.store.read_json(KIND, score.key)["per_prompt"].items()
    ]
    keep_scores(workspace, table, rows)
