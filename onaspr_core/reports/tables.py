"""The score table of an experiment as Markdown, CSV and plain text.

Every score stands with its n; a difference is marked only where its interval leaves out zero. Numbers
come from `evaluation.score_table` as they are; nothing is computed here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields, replace

from onaspr_core.artifacts import content_key
from onaspr_core.compute import Outcome, Preview
from onaspr_core.evaluation.metrics import Metric
from onaspr_core.evaluation.score_table import (
    Score,
    ScoreTable,
    format_difference,
    format_value,
    scores_of,
)
from onaspr_core.reports.files import ReportFile, report_folder, write_files
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

VERSION = 1
"""Part of the files' keys; raised when the same scores would be laid out differently."""

MARK = "*"
MINIATURE_NOTE = (
    "These features are the miniature's own small networks: the scores compare variants with one another "
    "and are not comparable with the paper's or with any other features."
)


def write_tables(workspace: Workspace, e: Experiment) -> Outcome:
    """Write `scores.md`, `scores.csv` and `scores.txt` to the experiment's report folder."""
    table = scores_of(workspace, e)
    key = table_key(table)
    folder = report_folder(workspace, e)
    files = [
        ReportFile("scores.md", key, lambda: markdown_table(table).encode()),
        ReportFile("scores.csv", key, lambda: csv_table(table).encode()),
        ReportFile("scores.txt", key, lambda: text_table(table).encode()),
    ]
    outcome = write_files("tables", folder, files)
    return replace(outcome, facts={"folder": str(folder)}, preview=Preview(markdown_table(table)))


def table_key(table: ScoreTable) -> str:
    """Hash of everything that a table shows."""
    return content_key("score-table", version=VERSION, table=asdict(table))


def markdown_table(table: ScoreTable) -> str:
    """Metrics down, variants across; each cell a value and its difference to the baseline."""
    if not table.scores:
        return f"{_EMPTY}\n"
    head = ["metric", "n", *(f"`{variant}`" for variant in table.variants)]
    lines = [_row(head), _row([":---", "---:", *["---:"] * len(table.variants)])]
    for metric in table.metrics:
        cells = [_markdown_cell(table.get(variant, metric.key)) for variant in table.variants]
        lines.append(_row([f"{metric.title} {metric.arrow}", count_of(table, metric), *cells]))
    notes = "\n".join(f"- {note}" for note in _notes(table))
    return "\n".join(lines) + f"\n\n{notes}\n"


def csv_table(table: ScoreTable) -> str:
    """One row per score with every field of `Score`, unrounded."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [field.name for field in fields(Score)]
    writer.writerow(["experiment", *names])
    for score in table.scores:
        writer.writerow([table.experiment, *(_csv_cell(getattr(score, name)) for name in names)])
    return buffer.getvalue()


def text_table(table: ScoreTable) -> str:
    """The table for a terminal: values, then differences with their intervals, then what to know."""
    if not table.scores:
        return f"{_EMPTY}\n"
    others = table.variants[1:]
    values = [["", "n", *table.variants]]
    differences = [["less baseline, 95 %", *others]]
    for metric in table.metrics:
        title = f"{metric.title} {metric.arrow}"
        scores = [table.get(variant, metric.key) for variant in table.variants]
        values.append([title, count_of(table, metric), *(format_value(s) if s else "none" for s in scores)])
        differences.append([title, *(_marked(s) if s else "none" for s in scores[1:])])
    notes = [f"  {note}" for note in _notes(table)]
    parts = [f"Experiment {table.experiment}, {table.prompts} prompts", "", *_aligned(values), ""]
    return "\n".join([*parts, *_aligned(differences), "", *notes]) + "\n"


def count_of(table: ScoreTable, metric: Metric) -> str:
    """How many videos a row's scores are over: "200", "200, 120 real", or one number per variant."""
    scores = [table.get(variant, metric.key) for variant in table.variants]
    counts = [str(score.n) if score else "0" for score in scores]
    shown = counts[0] if len(set(counts)) == 1 else " / ".join(counts)
    real = next((score.n_real for score in scores if score and score.n_real), 0)
    return f"{shown}, {real} real" if real else shown


def footnotes(table: ScoreTable) -> list[str]:
    """What must be known beside the numbers: features, intervals, what is missing."""
    labels = list(dict.fromkeys(score.label for score in table.scores))
    by_extractor: dict[str, list[str]] = {}
    for metric in table.metrics:
        first = next(score for score in table.scores if score.metric == metric.key)
        by_extractor.setdefault(f"{first.extractor} ({first.fingerprint[:8]})", []).append(metric.title)
    used = "; ".join(f"{name} for {', '.join(titles)}" for name, titles in by_extractor.items())
    notes = [f"Features: {used}."]
    if "miniature" in labels:
        notes.append(MINIATURE_NOTE)
    intervals: dict[str, list[str]] = {}
    for metric in table.metrics:
        kinds = dict.fromkeys(s.interval for s in table.scores if s.metric == metric.key and s.interval)
        for kind in kinds:
            intervals.setdefault(kind, []).append(metric.title)
    notes += [f"Intervals of {', '.join(titles)}: {kind}." for kind, titles in intervals.items()]
    return [*notes, *table.notes]


def _notes(table: ScoreTable) -> list[str]:
    """Footnotes, with what the mark means where it stands in the table."""
    marked = any(score.supported for score in table.scores)
    meaning = f"{MARK} the 95 % interval leaves out zero; not corrected for several comparisons."
    return [*footnotes(table), *([meaning] if marked else [])]


_EMPTY = "There are no scores yet; materialize the asset `scores`."


def _markdown_cell(score: Score | None) -> str:
    if score is None:
        return "none"
    difference = _marked(score)
    return format_value(score) + (f"<br>{difference}" if difference else "")


def _marked(score: Score) -> str:
    text = format_difference(score)
    return f"{text}{MARK}" if score.supported else text


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _csv_cell(value: object) -> object:
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with the first column to the left and the others to the right, two spaces apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
    return lines
