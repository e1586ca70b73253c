"""Which scores moved by more than their interval since those before them."""

from dataclasses import replace
from typing import Any

import pytest

from onaspr_core.checks.finding import Finding
from onaspr_core.checks.scores import no_score_moved_far
from onaspr_core.evaluation.score_table import Score, ScoreTable, keep_scores, prompt_scores_of, scores_of
from onaspr_core.evaluation.scores import score_experiment
from onaspr_core.generation import generate_videos
from tests.core.checks.conftest import Project

SCORE = Score(
    variant="ona",
    metric="clipsim",
    value=2.0,
    spread=None,
    n=4,
    n_real=0,
    missing=0,
    rows=4,
    rows_real=0,
    splits=None,
    label="tiny",
    extractor="net",
    fingerprint="f" * 40,
    difference=1.0,
    low=0.8,
    high=1.4,
    p_value=0.1,
    n_paired=4,
    interval="bootstrap",
    key="k",
)
BASE = replace(SCORE, variant="baseline", value=2.5, difference=None, low=None, high=None, p_value=None)


def compare(
    project: Project,
    before: Score,
    now: Score,
    values_before: dict[str, float] | None = None,
    values_now: dict[str, float] | None = None,
) -> Finding:
    """Keep one score after the other, and look."""
    workspace = project.open()
    for score, values in ((before, values_before or {}), (now, values_now or {})):
        rows = [(score.variant, score.metric, prompt, value) for prompt, value in values.items()]
        keep_scores(workspace, ScoreTable("one", 4, (score,)), rows)
    return no_score_moved_far(workspace, project.e)


@pytest.mark.parametrize(("difference", "far"), [(1.29, False), (1.31, True), (0.71, False), (0.69, True)])
def test_a_difference_moved_far_when_it_changed_by_more_than_half_its_interval(
    project: Project, difference: float, far: bool
) -> None:
    found = compare(project, SCORE, replace(SCORE, difference=difference))
    assert found.passed != far
    assert (found.facts["compared"], found.facts["moved"]) == (1, int(far))
    if far:
        row = ("CLIPSIM", "ONA", "difference to the baseline", "1", f"{difference}", "0.8 … 1.4")
        assert found.rows == [row]
        assert "CLIPSIM of ONA" in found.summary


@pytest.mark.parametrize(("shift", "far"), [(0.5, False), (3.0, True)])
def test_the_baseline_is_judged_by_its_prompts(project: Project, shift: float, far: bool) -> None:
    before = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "gone": 99.0}
    now = {prompt: value + shift for prompt, value in before.items() if prompt != "gone"}
    found = compare(project, BASE, BASE, before, {**now, "new": -99.0})
    assert found.passed != far
    if far:
        ((_, variant, compared, then, since, _),) = found.rows
        assert (variant, compared, then, since) == ("Baseline", "mean", "2.5", "5.5")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (replace(BASE, metric="fid"), replace(BASE, metric="fid", value=99.0)),
        (replace(SCORE, low=None, high=None), replace(SCORE, difference=99.0)),
        (SCORE, replace(SCORE, difference=99.0, fingerprint="0" * 40)),
        (SCORE, replace(SCORE, variant="spr", difference=99.0)),
        (SCORE, replace(SCORE, difference=None, low=None, high=None)),
    ],
    ids=["set metric of the baseline", "no interval", "other network", "not scored before", "not compared"],
)
def test_what_cannot_be_judged_is_listed(project: Project, before: Score, now: Score) -> None:
    found = compare(project, before, now)
    assert found.passed
    assert found.facts["compared"] == 0
    assert found.facts["not_judged"] != "none"


def scored_with(project: Project, eta: float) -> Any:
    """Make and score the videos for this eta, and return the experiment."""
    e = project.e.model_copy(update={"eta": eta})
    workspace = project.open()
    for variant in ("ona", "ona_spr"):
        generate_videos(workspace, e, variant)
    score_experiment(workspace, e)
    return e


def test_the_stage_keeps_the_scores_before_the_present_ones_and_equal_ones_change_nothing(
    project: Project,
) -> None:
    first, e = scores_of(project.open(), project.e), project.e
    values = prompt_scores_of(project.open(), e)
    assert first.scores
    assert scores_of(project.open(), e, earlier=True).scores == ()
    assert "no earlier scores" in no_score_moved_far(project.open(), e).summary
    changed = scored_with(project, 5.0)
    for _ in range(2):
        assert scores_of(project.open(), e, earlier=True) == first
        assert prompt_scores_of(project.open(), e, earlier=True) == values
        assert scores_of(project.open(), e) != first
        score_experiment(project.open(), changed)
    found = no_score_moved_far(project.open(), e)
    assert found.facts["compared"] == 16
    of_sets = ("FID", "CLIP-FID", "FVD", "IS")
    assert found.facts["not_judged"] == ", ".join(f"{metric} of Baseline" for metric in of_sets)
    second = scores_of(project.open(), e)
    scored_with(project, 0.5)
    assert scores_of(project.open(), e, earlier=True) == second
    assert scores_of(project.open(), e).scores == first.scores


def test_a_catalog_from_before_earlier_scores_were_kept_goes_on(project: Project) -> None:
    first = scores_of(project.open(), project.e)
    with project.open().catalog.write() as connection:
        for kept in ("scores", "prompt_scores", "score_runs"):
            connection.execute(f"drop table earlier_{kept}")
    assert no_score_moved_far(project.open(), project.e).passed
    scored_with(project, 5.0)
    assert scores_of(project.open(), project.e, earlier=True) == first
