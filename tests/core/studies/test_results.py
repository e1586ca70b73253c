"""From scores to a view: differences to the first row, one correction for all, the paper's beside ours."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from onaspr_core.evaluation.extractors import FeatureSet
from onaspr_core.evaluation.features import FeatureSets
from onaspr_core.evaluation.score_table import Score, ScoreTable
from onaspr_core.evaluation.scores import Made
from onaspr_core.settings import Settings, load_settings
from onaspr_core.studies import results
from onaspr_core.studies.plans import SWEEPS, Row, symbol
from onaspr_core.studies.results import Block, Result, csv_rows, view_of

NETWORK = FeatureSet("image classifier", "ResNet", "x", Path("x"), "fingerprint")
SETS = FeatureSets(NETWORK, NETWORK, NETWORK)
BASE = Score(
    *("η = 0", "clipsim", 0.25, None, 8, 0, 0, 8, 0, None, "x", "x CLIPModel", "fingerprint"),
    *(None, None, None, None, 0, "", "key"),
)


def other(variant: str, metric: str = "clipsim", p: float | None = 0.01, sign: int = 1) -> Score:
    low, high = sorted((0.01 * sign, 0.03 * sign))
    return replace(
        BASE,
        variant=variant,
        metric=metric,
        difference=0.02 * sign,
        low=low,
        high=high,
        p_value=p,
        n_paired=8,
    )


def result_of(settings: Settings, scores: list[Score], name: str = "figure_4") -> Result:
    e = settings.experiment("one")
    labels = dict.fromkeys(score.variant for score in scores)
    rows = tuple(Row(label, label.partition(" = ")[2], Made(e, "ona")) for label in labels)
    block = Block(e, SETS, rows, ScoreTable("one", 8, tuple(scores)))
    return Result(name, "Title", "one", settings, (block,), SWEEPS[name].axis)


@pytest.fixture
def settings(settings_file: Path) -> Settings:
    return load_settings(settings_file)


def verdicts(result: Result) -> list[str]:
    return [row.cells[1].verdict for row in view_of(result).rows if row.group == ""]


def test_a_difference_counts_only_where_it_outlasts_all_rows_of_the_sweep(settings: Settings) -> None:
    two = [BASE, other("η = 1", p=0.03)]
    assert verdicts(result_of(settings, two)) == ["even", "better"]
    three = [*two, other("η = 2", p=0.04)]
    assert verdicts(result_of(settings, three)) == ["even", "even", "even"]
    three = [*two, other("η = 2", p=0.001, sign=-1)]
    assert verdicts(result_of(settings, three)) == ["even", "better", "worse"]
    rule = view_of(result_of(settings, [*three, other("η = 5")])).notes[1]
    assert "corrected for three comparisons by Holm" in rule


def test_a_set_metric_is_never_called_better(settings: Settings) -> None:
    fid = replace(BASE, metric="fid", value=12.0)
    assert verdicts(result_of(settings, [fid, other("η = 1", "fid", p=None)])) == ["even", "even"]


def test_differences_and_bounds_are_to_the_first_row(settings: Settings) -> None:
    view = view_of(result_of(settings, [BASE, other("η = 0.5"), other("η = ∞", sign=-1)]))
    assert view.notes[0] == "Below each value: the difference to η = 0, with its 95 % interval."
    assert [row.cells[1].difference for row in view.rows[:3]] == [
        "",
        "+0.0200 [+0.0100, +0.0300]",
        "-0.0200 [-0.0300, -0.0100]",
    ]
    assert view.curve is not None
    assert (view.curve.axis, view.curve.points) == ("η", ("0", "0.5", "∞"))
    (series,) = view.curve.series
    assert series.differences == (None, (0.01, 0.03), (-0.03, -0.01))
    assert series.paper == (0.283, 0.289, None)


def test_the_papers_rows_without_ours_stand_alone(settings: Settings) -> None:
    view = view_of(result_of(settings, [BASE]))
    assert [(row.label, row.group) for row in view.rows] == [("η = 0", ""), ("η = 0.5", "in the paper alone")]
    assert [cell.paper for cell in view.rows[1].cells] == ["", "0.289"]
    assert view.rows[0].cells[1] == replace(view.rows[0].cells[1], paper="0.283", comparable=False)
    assert any("do not compare: " in note and "feature networks" in note for note in view.notes)


def test_what_could_not_be_scored_says_none_and_keeps_its_row(settings: Settings) -> None:
    fid = replace(BASE, metric="fid", variant="η = 1", value=3.0)
    result = result_of(settings, [BASE, fid])
    cells = [[cell.value for cell in row.cells] for row in view_of(result).rows[:2]]
    assert cells == [["8", "none", "0.2500"], ["8", "3.000", "none"]]
    assert [(row["row"], row["metric"]) for row in csv_rows(result)] == [
        ("η = 0", "clipsim"),
        ("η = 1", "fid"),
    ]


def test_the_csv_says_why_a_number_does_not_compare(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = result_of(settings, [BASE, other("η = 7")])
    first, second = csv_rows(result)
    assert (first["paper"], first["comparable"]) == ("0.283", False)
    assert "feature networks are others" in first["why_not"]
    assert (second["paper"], second["comparable"], second["why_not"]) == (None, None, "")
    monkeypatch.setattr(results, "reasons_against", lambda *_: ())
    first, _ = csv_rows(result)
    assert (first["comparable"], first["why_not"]) == (True, "")
    assert view_of(result).rows[0].cells[1].comparable


def test_the_papers_other_benchmark_lends_no_number(settings: Settings) -> None:
    e = settings.experiment("one")
    of_ucf = SimpleNamespace(evaluation=SimpleNamespace(benchmark=SimpleNamespace(format="ucf101")))
    row = Row("η = 0", "0", Made(e, "ona"))
    block = cast(Any, SimpleNamespace(experiment=of_ucf))
    assert results._paper("figure_4", block, row, "fid") is None
    found = results._paper("figure_4", block, row, "fvd")
    assert found is not None and found.text == "750.74"


@pytest.mark.parametrize(
    ("value", "told"), [(0.0, "0"), (0.05, "0.05"), (float("inf"), "∞"), (15, "15"), (1e7, "10,000,000")]
)
def test_values_are_told_as_people_read_them(value: float, told: str) -> None:
    assert symbol(value) == told
