"""The studies as stages: make what is missing, score it, and write what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from onaspr_core.compute import Failure, Maker, Outcome, merge, run_items, version_of
from onaspr_core.csv_text import csv_text
from onaspr_core.errors import UserError
from onaspr_core.evaluation.features import feature_sets
from onaspr_core.evaluation.scores import Made, score_made
from onaspr_core.reports.figures import COMPARED, Shown, draw_shown, draw_strips, shown_videos
from onaspr_core.reports.study_view import StudyView
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.versions import caption_state
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import STAGE_TIME
from onaspr_core.studies.figures import draw_curve, draw_differences, draw_times
from onaspr_core.studies.files import place, write_study
from onaspr_core.studies.making import make_rows
from onaspr_core.studies.plans import SWEEPS, TITLES, NothingToCompareError, Row, studied, variants
from onaspr_core.studies.results import Block, Result, csv_rows, view_of
from onaspr_core.studies.time_table import times_csv, times_view
from onaspr_core.studies.timings import STAGES, keep_time, kept_time, measure, stage_key
from onaspr_core.workspace import Workspace

Stage = TypeVar("Stage", bound=Callable[..., Outcome])

PROMPTS_SHOWN = 2
"""Prompts of each experiment in Figure 3."""


def left_out(stage: Stage) -> Stage:
    """Let a study for which the settings name nothing make nothing, and say so."""

    @wraps(stage)
    def study(*arguments: Any, **named: Any) -> Outcome:
        try:
            return stage(*arguments, **named)
        except NothingToCompareError as told:
            return Outcome(version_of([]), 0, 0, 0, facts={"left_out": str(told)})

    return cast(Stage, study)


@left_out
def sweep(workspace: Workspace, e: Experiment, name: str) -> Outcome:
    """Set one thing after another for an experiment, and write what came out; `name` is one of `SWEEPS`.

    Where the settings name nothing to set, the study is left out, and facts say so.

    Raises:
        UserError: when the pool has not been materialized, and as the stages that make what is missing.
    """
    state = caption_state(workspace, e.pool, embedder(workspace).fingerprint)
    plan = SWEEPS[name]
    rows = plan.rows(workspace.settings, e, min(e.pool_size or state.pairs, state.pairs))
    block, made = _measured(workspace, e, rows)
    result = Result(name, TITLES[name], e.name, workspace.settings, (block,), plan.axis)
    return _written(workspace, result, made)


@left_out
def variant_table(workspace: Workspace, name: str) -> Outcome:
    """Compare the four variants of the experiments that the settings name, in `table_1` or `table_3`.

    Where none is named that makes videos (Table 1) or images (Table 3), it is left out, and facts say so.

    Raises:
        UserError: as `sweep`.
    """
    blocks, made = [], []
    for e in _studied(workspace, images=name == "table_3"):
        family = workspace.settings.backbones[e.backbone].family
        block, outcome = _measured(workspace, e, variants(e, family))
        blocks.append(block)
        made.append(outcome)
    result = Result(name, TITLES[name], "", workspace.settings, tuple(blocks))
    return _written(workspace, result, merge(made))


@left_out
def frames_side_by_side(workspace: Workspace) -> Outcome:
    """Draw Figure 3: frames of the same prompt and noise, without the method and with it.

    Raises:
        UserError: as `variant_table`.
    """
    made: list[Outcome] = []
    shown: Shown = []
    for e in _studied(workspace, images=False):
        made += make_rows(workspace, e, [Made(e, variant) for variant in COMPARED])
        own = shown_videos(workspace, e, COMPARED)[:PROMPTS_SHOWN]
        shown += [(f"{e.name}: {text}", videos) for text, videos in own]
    if not shown:
        raise UserError("no prompt has both videos that Figure 3 shows; see what failed above")
    view = StudyView(
        name="figure_3",
        title=TITLES["figure_3"],
        experiment="",
        columns=(),
        rows=(),
        notes=(
            "The first prompts of each experiment, not chosen ones. Both rows start from one random noise.",
        ),
        pictures=((f"{place('figure_3', '')}.png", "; ".join(text for text, _ in shown)),),
    )
    listed = [
        {"prompt": text, "variant": variant, "video": key}
        for text, videos in shown
        for variant, key in videos
    ]
    return write_study(
        workspace, view, csv_text(listed), partial(draw_shown, workspace, shown, draw_strips), merge(made)
    )


def stage_times(workspace: Workspace, e: Experiment) -> Outcome:
    """Time every stage for an experiment on this machine, cold and warm, and write Table 4.

    A stage that was timed on this machine, with these models and settings, is not timed again.

    Raises:
        UserError: when prompts, neighbours or clips have not been materialized, or a model cannot be loaded.
    """

    @contextmanager
    def open_maker() -> Iterator[Maker[str]]:
        yield partial(_time, workspace, e)

    outcome = run_items(
        "stage times",
        list(STAGES),
        key=lambda stage: stage_key(workspace, e, stage),
        name=lambda stage: stage,
        exists=lambda keys: workspace.store.existing(STAGE_TIME, keys),
        open_maker=open_maker,
    )
    times = [found for stage in STAGES if (found := kept_time(workspace, e, stage))]
    view = times_view(e, times)
    return write_study(workspace, view, times_csv(e, times), partial(draw_times, e, times), outcome)


def _time(workspace: Workspace, e: Experiment, stages: Sequence[str]) -> Iterator[Failure]:
    for stage in stages:
        try:
            keep_time(workspace, e, measure(workspace, e, stage))
        except UserError as problem:
            yield Failure(stage, str(problem))


def _studied(workspace: Workspace, *, images: bool) -> list[Experiment]:
    found = studied(workspace.settings, images=images)
    if not found:
        things = "images" if images else "videos"
        raise NothingToCompareError(
            f"studies.experiments names none that makes {things}; name one, or leave this study out"
        )
    return found


def _measured(workspace: Workspace, e: Experiment, rows: Sequence[Row]) -> tuple[Block, Outcome]:
    """Make and score the rows of an experiment; the outcome is of items, features and scores together."""
    made = make_rows(workspace, e, [row.made for row in rows])
    table, scored = score_made(workspace, e, {row.label: row.made for row in rows})
    return Block(e, feature_sets(workspace, e), tuple(rows), table), merge([*made, scored])


def _written(workspace: Workspace, result: Result, made: Outcome) -> Outcome:
    view, csv = view_of(result), csv_text(csv_rows(result))
    if view.curve:
        return write_study(workspace, view, csv, partial(draw_curve, view, view.curve), made)
    picture = (f"{place(view.name, view.experiment)}.png", "differences with their 95 % intervals")
    shown = replace(view, pictures=(picture,))
    return write_study(workspace, shown, csv, partial(draw_differences, result), made)
