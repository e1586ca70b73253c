"""The score table of an experiment as files: Markdown, CSV and plain text.

Every score stands with its n; a difference is marked only where it is supported. Numbers come from
`evaluation.score_table` as they are, their words and the Markdown form from `evaluation.score_layout`;
nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Outcome, Preview
from onaspr_core.csv_text import csv_text
from onaspr_core.evaluation.score_layout import (
    count_of,
    empty_table,
    format_marked,
    format_value,
    markdown_table,
    notes_of,
)
from onaspr_core.evaluation.score_table import Score, ScoreTable, scores_of
from onaspr_core.reports.files import ReportFile, report_folder, write_files
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


def write_tables(workspace: Workspace, e: Experiment) -> Outcome:
    """Write `scores.md`, `scores.csv` and `scores.txt` to the experiment's report folder."""
    table = scores_of(workspace, e)
    key = content_key("score-table-files", version=code_versions.TABLES, table=table.key)
    folder = report_folder(workspace, e)
    files = [
        ReportFile("scores.md", key, lambda: markdown_table(table).encode()),
        ReportFile("scores.csv", key, lambda: csv_table(table).encode()),
        ReportFile("scores.txt", key, lambda: text_table(table).encode()),
    ]
    outcome = write_files("tables", folder, files)
    return replace(outcome, facts={"folder": str(folder)}, preview=Preview(markdown_table(table)))


def csv_table(table: ScoreTable) -> str:
    """One row per score with every field of `Score`, unrounded."""
    names = ["experiment", *(field.name for field in fields(Score))]
    return csv_text(({"experiment": table.experiment, **asdict(score)} for score in table.scores), names)


def text_table(table: ScoreTable) -> str:
    """The table for a terminal: values, then differences with their intervals, then what to know."""
    if not table.scores:
        return empty_table(table)
    others = table.variants[1:]
    values = [["", "n", *table.variants]]
    differences = [["less baseline, 95 %", *others]]
    for metric in table.metrics:
        title = f"{metric.title} {metric.arrow}"
        scores = [table.get(variant, metric.key) for variant in table.variants]
        values.append([title, count_of(table, metric), *(format_value(s) if s else "none" for s in scores)])
        differences.append([title, *(format_marked(table, s) if s else "none" for s in scores[1:])])
    notes = [f"  {note}" for note in notes_of(table)]
    parts = [f"Experiment {table.experiment}, {table.prompts} prompts", "", *_aligned(values), ""]
    return "\n".join([*parts, *_aligned(differences), "", *notes]) + "\n"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with the first column to the left and the others to the right, two spaces apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return lines
