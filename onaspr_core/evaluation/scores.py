"""The stage that scores an experiment: four variants under every metric, made once and kept.

An item is one metric of one variant; its key is made of feature keys and evaluation settings, so a
second run computes nothing and a changed video is the only one encoded again. Missing videos are
counted and named, and n is part of every score. `score_made` does the same for any other sets of videos of
the same prompts, such as those of a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from math import isfinite
from typing import Any

from onaspr_core.compute import Failure, Maker, Outcome, Preview, merge, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.evaluation.comparisons import by_prompt
from onaspr_core.evaluation.encoding import make_features
from onaspr_core.evaluation.material import Made, Material, material_of, score_items
from onaspr_core.evaluation.metrics import metric_named
from onaspr_core.evaluation.score_layout import markdown_table
from onaspr_core.evaluation.score_notes import Told, notes, shortage_of
from onaspr_core.evaluation.score_table import (
    Score,
    ScoreTable,
    keep_scores,
    prompt_scores_of,
    scores_of,
)
from onaspr_core.evaluation.scoring import Measured, ScoreItem, Scorer
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import FEATURES, SCORE
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace

__all__ = ["Made", "Score", "ScoreTable", "prompt_scores_of", "score_experiment", "score_made", "scores_of"]


def score_experiment(workspace: Workspace, e: Experiment) -> Outcome:
    """Score all variants: features of what is missing, then scores of what is missing.

    Counts are of features and scores together; the version is that of the score items and of the whole
    table, labels and notes included. A video that is missing or unreadable, and a score that cannot be
    computed, are Failures. Facts count prompts, scores, features, real videos and missing videos of all
    variants together; the preview is the table.
    """
    table, outcome = score_made(workspace, e, {variant: Made(e, variant) for variant in VARIANTS})
    _keep(workspace, e, table)
    return outcome


def score_made(workspace: Workspace, e: Experiment, made: Mapping[str, Made]) -> tuple[ScoreTable, Outcome]:
    """Score sets of videos under an experiment's evaluation, each less the first; the catalog is left alone.

    Args:
        workspace: Where.
        e: Whose prompts, real side and networks are used, and whose name the table bears.
        made: The sets by name, which becomes the scores' `variant`. All are of the prompts of `e`.

    Returns:
        The table, and an outcome as that of `score_experiment`.

    Raises:
        UserError: when prompts, neighbours or rewrites that a set needs have not been materialized.
    """
    material, missing = material_of(workspace, e, made)
    features = make_features(workspace, material.items, e.evaluation.batch_size)
    keys = [item.key for item in material.items]
    material = replace(material, existing=frozenset(workspace.store.existing(FEATURES, keys)))
    items = score_items(e, material)
    scores = _run(workspace, items)
    table = _table(workspace, e, material, items, missing)
    found = merge([features, scores])
    facts = {
        "prompts": len(material.prompts),
        "scores": len(table.scores),
        "features_computed": features.computed,
        "missing_videos": len(missing),
        "real_videos": len(material.real),
        "feature_sets": ", ".join(one.name for one in material.sets.of(material.networks).values()),
        "notes": "; ".join(table.notes),
    }
    outcome = replace(
        found,
        version=version_of([scores.version, table.key]),
        failures=(*missing, *found.failures),
        facts=facts,
        preview=Preview(markdown_table(table)),
    )
    return table, outcome


def _run(workspace: Workspace, items: Sequence[ScoreItem]) -> Outcome:
    @contextmanager
    def open_maker() -> Iterator[Maker[ScoreItem]]:
        scorer = Scorer(partial(workspace.store.map, partial(workspace.store.read_tensors, FEATURES)))
        yield lambda batch: _measure(workspace, scorer, batch)

    return run_items(
        "scores",
        items,
        key=lambda item: item.key,
        name=lambda item: item.name,
        exists=lambda keys: workspace.store.existing(SCORE, keys),
        open_maker=open_maker,
    )


def _measure(workspace: Workspace, scorer: Scorer, batch: Sequence[ScoreItem]) -> Iterable[Failure]:
    for item in batch:
        try:
            measured = scorer.measure(item)
        except UserError as problem:
            yield Failure(item.name, str(problem))
            continue
        if not isfinite(measured.value):
            yield Failure(item.name, "its value is not a finite number; look for the video that gave it")
            continue
        record = {"metric": item.metric.key, "n": len(item.own.prompts), "n_real": len(item.real)}
        workspace.store.write_json(SCORE, item.key, asdict(measured), record)


def _table(
    workspace: Workspace,
    e: Experiment,
    material: Material,
    items: Sequence[ScoreItem],
    missing: Sequence[Failure],
) -> ScoreTable:
    existing = workspace.store.existing(SCORE, [item.key for item in items])
    there = [item for item in items if item.key in existing]
    read = workspace.store.map(lambda item: workspace.store.read_json(SCORE, item.key), there)
    found = [(item, Measured(**told)) for item, told in zip(there, read, strict=True)]
    baselines = {item.metric.key: measured for item, measured in found if item.baseline is None}
    scores = tuple(
        _score(item, measured, baselines.get(item.metric.key), material) for item, measured in found
    )
    told = Told(
        e,
        material.sets,
        len(material.prompts),
        len(material.real),
        len(missing),
        len(material.videos),
        shortage_of(workspace, e),
        computed=tuple(item.metric for item, _ in found),
        lost=tuple(item.name for item in items if item.key not in existing),
        videos=frozenset(key for keys in material.keys.values() for key in keys.values()),
        vbench=material.vbench,
    )
    return ScoreTable(e.name, len(material.prompts), scores, tuple(notes(told)))


def _score(item: ScoreItem, measured: Measured, baseline: Measured | None, material: Material) -> Score:
    prompts = len(material.prompts)
    source = material.source(item.metric)
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
        label=source.label,
        extractor=source.name,
        fingerprint=source.fingerprint,
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


def _keep(workspace: Workspace, e: Experiment, table: ScoreTable) -> None:
    """Bring the catalog up to date; equal scores are left alone."""
    if scores_of(workspace, e) == table:
        return
    rows = [
        (score.variant, score.metric, prompt, value)
        for score in table.scores
        if metric_named(score.metric).per_prompt
        for prompt, value in per_prompt_of(workspace, score).items()
    ]
    keep_scores(workspace, table, rows)


def per_prompt_of(workspace: Workspace, score: Score) -> dict[str, float]:
    """The value of each prompt of a per-prompt metric, by prompt id, from the score's item."""
    values: dict[str, float] = workspace.store.read_json(SCORE, score.key)["per_prompt"]
    return values
