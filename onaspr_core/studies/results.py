"""What a study came to: rows with their scores, and the view of them that pages and files show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onaspr_core.evaluation.features import FeatureSets
from onaspr_core.evaluation.metrics import ALL_RIGHT, Metric
from onaspr_core.evaluation.score_layout import (
    compared_with,
    footnotes,
    format_difference,
    format_value,
    mark_rule,
)
from onaspr_core.evaluation.score_table import Score, ScoreTable
from onaspr_core.reports.study_view import Curve, Series, StudyCell, StudyRow, StudyView
from onaspr_core.settings import Experiment, Settings
from onaspr_core.studies.comparable import reasons_against
from onaspr_core.studies.paper import CONTRADICTIONS, PaperNumber, paper_numbers
from onaspr_core.studies.plans import Row
from onaspr_core.variants import title_of


@dataclass(frozen=True)
class Block:
    """Rows of one experiment that are compared with their first, and their scores, under the rows' labels."""

    experiment: Experiment
    sets: FeatureSets
    rows: tuple[Row, ...]
    table: ScoreTable

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What a study shows: the chosen metrics, and whether everything that a prompt asks for is there."""
        return tuple(m for m in self.table.metrics if not m.is_accuracy or m.key == ALL_RIGHT)

    @property
    def shown(self) -> ScoreTable:
        """The scores of these metrics alone."""
        keys = {metric.key for metric in self.metrics}
        return replace(self.table, scores=tuple(one for one in self.table.scores if one.metric in keys))


@dataclass(frozen=True)
class Result:
    """A study with its scores.

    `experiment` is empty where it spans several. `axis` is the symbol of what it sets, None where its rows
    have no order.
    """

    name: str
    title: str
    experiment: str
    settings: Settings
    blocks: tuple[Block, ...]
    axis: str | None = None


def view_of(result: Result) -> StudyView:
    """The study as plain values: ours with their differences, and the paper's beside each."""
    metrics = _metrics(result)
    reasons: dict[str, None] = {}
    rows = []
    for block in result.blocks:
        for row in block.rows:
            cells = [StudyCell(_count(block.table, row))]
            for metric in metrics:
                score, number = (
                    block.table.get(row.label, metric.key),
                    _paper(result.name, block, row, metric.key),
                )
                against = _against(result, block, row, score, number)
                reasons |= dict.fromkeys(against)
                cells.append(_cell(block.table, score, number, not against))
            rows.append(StudyRow(title_of(row.label), tuple(cells), _group(result, block)))
    rows += _paper_alone(result, metrics)
    return StudyView(
        name=result.name,
        title=result.title,
        experiment=result.experiment,
        columns=("n", *(f"{metric.title} {metric.arrow}" for metric in metrics)),
        rows=tuple(rows),
        notes=tuple(_notes(result, reasons)),
        curve=_curve(result, metrics) if result.axis else None,
    )


def csv_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Every score of a study, unrounded, with the paper's number and why it does not compare."""
    for block in result.blocks:
        for row in block.rows:
            for metric in _metrics(result):
                if (score := block.table.get(row.label, metric.key)) is None:
                    continue
                number = _paper(result.name, block, row, metric.key)
                against = _against(result, block, row, score, number)
                yield {
                    "experiment": block.experiment.name,
                    "backbone": block.experiment.backbone,
                    "row": row.label,
                    "metric": score.metric,
                    "value": score.value,
                    "spread": score.spread,
                    "n": score.n,
                    "n_real": score.n_real,
                    "missing": score.missing,
                    "difference": score.difference,
                    "low": score.low,
                    "high": score.high,
                    "p_value": score.p_value,
                    "supported": block.table.supported(score),
                    "wins": score.wins,
                    "prompts_needed": score.prompts_needed,
                    "features": f"{score.extractor} {score.fingerprint[:8]}",
                    "paper": number.text if number else None,
                    "comparable": not against if number else None,
                    "why_not": "; ".join(against),
                }


def _metrics(result: Result) -> tuple[Metric, ...]:
    found: dict[str, Metric] = {}
    for block in result.blocks:
        found |= {metric.key: metric for metric in block.metrics}
    return tuple(found.values())


def _group(result: Result, block: Block) -> str:
    """The experiment's name, and which of the paper's models its rows stand beside."""
    if result.experiment:
        return ""
    family = result.settings.backbones[block.experiment.backbone].family
    beside = f", beside the paper's {PAPER_MODELS[family]}" if family in PAPER_MODELS else ""
    return f"{block.experiment.name}: backbone {block.experiment.backbone}{beside}"


def _paper(study: str, block: Block, row: Row, metric: str) -> PaperNumber | None:
    """The paper's number of a row; none where the experiment is of another of the paper's benchmarks."""
    number = paper_numbers(study).get(row.paper, {}).get(metric)
    benchmark = block.experiment.evaluation.benchmark
    other = {one.benchmark for own in paper_numbers(study).values() for one in own.values()}
    if number and benchmark and benchmark.format in other and benchmark.format != number.benchmark:
        return None
    return number


def _against(
    result: Result, block: Block, row: Row, score: Score | None, number: PaperNumber | None
) -> tuple[str, ...]:
    if score is None or number is None:
        return ()
    return reasons_against(result.name, result.settings, block.sets, row, score, number)


def _cell(table: ScoreTable, score: Score | None, number: PaperNumber | None, comparable: bool) -> StudyCell:
    paper = number.text if number else ""
    if score is None:
        return StudyCell("none", paper=paper)
    return StudyCell(
        format_value(score),
        format_difference(score),
        table.verdict(score),
        paper,
        comparable and number is not None,
    )


def _count(table: ScoreTable, row: Row) -> str:
    """How many videos a row's scores are of; each number where metrics differ in it."""
    counts = dict.fromkeys(score.n for score in table.scores if score.variant == row.label)
    return " / ".join(f"{count:,}" for count in counts) or "0"


def _paper_alone(result: Result, metrics: Iterable[Metric]) -> list[StudyRow]:
    """The paper's rows that ours have none for, so that its table is whole."""
    ours = {row.paper for block in result.blocks for row in block.rows}
    rows = []
    for name, numbers in paper_numbers(result.name).items():
        if name not in ours:
            told = [numbers.get(metric.key) for metric in metrics]
            cells = (StudyCell("", paper=number.text if number else "") for number in told)
            rows.append(StudyRow(_paper_name(result, name), (StudyCell(""), *cells), "in the paper alone"))
    return rows


def _paper_name(result: Result, row: str) -> str:
    """The paper's row for people: `scvideo/ona_spr` is SCVideo, ONA + SPR, and 10000 is N = 10,000."""
    family, _, variant = row.partition("/")
    if variant:
        return f"{PAPER_MODELS[family]}, {title_of(variant)}"
    value = f"{int(row):,}" if row.isdigit() else row
    return f"{result.axis} = {value}" if result.axis else row


PAPER_MODELS: Mapping[str, str] = {
    "modelscope": "ModelScope",
    "scvideo": "SCVideo",
    "stable-diffusion-1.5": "SD 1.5",
    "sdxl": "SDXL",
}
"""What the paper calls the models of each family."""


def _notes(result: Result, reasons: Iterable[str]) -> Iterator[str]:
    tables = list(dict.fromkeys(block.table for block in result.blocks))
    first = tables[0]
    yield f"Below each value: the difference to {compared_with(first)}, with its 95 % interval."
    yield f"Called better or worse only where {mark_rule(first)}; set metrics never are."
    if told := list(reasons):
        yield f"The paper's numbers stand in small print and do not compare: {'; '.join(told)}."
    yield from CONTRADICTIONS.get(result.name, ())
    for block in result.blocks:
        before = f"{block.experiment.name}: " if len(result.blocks) > 1 else ""
        yield from (f"{before}{note}" for note in footnotes(block.shown))


def _curve(result: Result, metrics: Iterable[Metric]) -> Curve:
    (block,) = result.blocks
    series = []
    for metric in metrics:
        scores = [block.table.get(row.label, metric.key) for row in block.rows]
        numbers = [_paper(result.name, block, row, metric.key) for row in block.rows]
        scale = 100.0 if metric.is_accuracy else 1.0
        series.append(
            Series(
                metric.title + (", %" if metric.is_accuracy else ""),
                metric.arrow,
                tuple(scale * s.value if s else None for s in scores),
                tuple(_bounds(s, scale) for s in scores),
                tuple(number.value if number else None for number in numbers),
                comparable=_all_comparable(result, block, metric, numbers),
            )
        )
    points = tuple(row.label.partition(" = ")[2] for row in block.rows)
    return Curve(result.axis or "", points, tuple(series))


def _all_comparable(
    result: Result, block: Block, metric: Metric, numbers: Sequence[PaperNumber | None]
) -> bool:
    scores = [block.table.get(row.label, metric.key) for row in block.rows]
    told = zip(block.rows, scores, numbers, strict=True)
    return not any(_against(result, block, row, score, number) for row, score, number in told)


def _bounds(score: Score | None, scale: float) -> tuple[float, float] | None:
    if score is None or score.low is None or score.high is None or math.isnan(score.low):
        return None
    return scale * score.low, scale * score.high
