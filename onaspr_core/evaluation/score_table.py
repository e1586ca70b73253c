"""Scores as they are kept and handed on: typed rows in the catalog, and the table they form.

Computing a score is the concern of `scoring`, laying out a table for people that of `onaspr_core.reports`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core.evaluation.benchmarks import has_table
from onaspr_core.evaluation.metrics import METRICS, Metric, metric_named
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class Score:
    """One metric of one variant.

    `n` videos were scored and `missing` were not there; `n_real` is the size of the real side (0 where
    there is none). `spread` is the inception score's standard deviation over splits. `difference` is
    this variant less the baseline over the `n_paired` prompts that both have, with the bounds of its
    95 % interval; `interval` says how these were made, `p_value` is the sign-flip test's.
    `label` and `extractor` name the features, `fingerprint` identifies them.
    """

    variant: str
    metric: str
    value: float
    spread: float | None
    n: int
    n_real: int
    missing: int
    label: str
    extractor: str
    fingerprint: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    n_paired: int
    interval: str
    key: str

    @property
    def supported(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


@dataclass(frozen=True)
class ScoreTable:
    """All scores of an experiment, and what a reader must know beside them."""

    experiment: str
    prompts: int
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants in the order they were scored."""
        return tuple(dict.fromkeys(score.variant for score in self.scores))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that have a score: the paper's five in its order, then attribute accuracies."""
        present = dict.fromkeys(score.metric for score in self.scores)
        own = [metric for metric in METRICS if metric.key in present]
        return (*own, *(metric_named(key) for key in present if metric_named(key) not in METRICS))

    def get(self, variant: str, metric: str) -> Score | None:
        """The score of a variant under a metric, or None where it could not be computed."""
        return next((s for s in self.scores if s.variant == variant and s.metric == metric), None)


def scores_of(workspace: Workspace, e: Experiment) -> ScoreTable:
    """The experiment's scores from the catalog; an empty table before the first scoring."""
    with workspace.catalog.read() as connection:
        if not has_table(connection, "scores"):
            return ScoreTable(e.name, 0, ())
        columns = ", ".join(field.name for field in fields(Score))
        rows = connection.execute(
            f"select {columns} from scores where experiment = ? order by position", [e.name]
        ).fetchall()
        about = connection.execute(
            "select prompts, notes from score_runs where experiment = ?", [e.name]
        ).fetchone()
    prompts, notes = about or (0, [])
    return ScoreTable(e.name, prompts, tuple(Score(*row) for row in rows), tuple(notes))


def prompt_scores_of(workspace: Workspace, e: Experiment) -> dict[str, dict[str, dict[str, float]]]:
    """Per-prompt values as variant → metric → prompt id → value."""
    with workspace.catalog.read() as connection:
        if not has_table(connection, "prompt_scores"):
            return {}
        rows = connection.execute(
            "select variant, metric, prompt, value from prompt_scores where experiment = ?", [e.name]
        ).fetchall()
    result: dict[str, dict[str, dict[str, float]]] = {}
    for variant, metric, prompt, value in rows:
        result.setdefault(variant, {}).setdefault(metric, {})[prompt] = value
    return result


def keep_scores(
    workspace: Workspace,
    table: ScoreTable,
    per_prompt: Sequence[tuple[str, str, str, float]],
) -> None:
    """Replace the experiment's rows in the catalog, in one transaction.

    `per_prompt` rows are (variant, metric, prompt id, value).
    """
    name = table.experiment
    with workspace.catalog.write() as connection:
        for statement in _tables():
            connection.execute(statement)
        for kept in ("scores", "prompt_scores", "score_runs"):
            connection.execute(f"delete from {kept} where experiment = ?", [name])
        notes = list(table.notes)
        connection.execute("insert into score_runs values (?, ?, ?)", [name, table.prompts, notes])
        own = {field.name: [getattr(score, field.name) for score in table.scores] for field in fields(Score)}
        _insert(connection, "scores", {"position": range(len(table.scores)), **own}, name)
        columns = zip(("variant", "metric", "prompt", "value"), zip(*per_prompt, strict=True), strict=False)
        _insert(connection, "prompt_scores", dict(columns), name)


def format_value(score: Score) -> str:
    """A score as it is printed everywhere: percentages for accuracies, three or more digits otherwise."""
    if score.metric.startswith("right:"):
        return f"{100.0 * score.value:.1f} %"
    digits = _decimals(abs(score.value))
    text = f"{score.value:.{digits}f}"
    return text if score.spread is None else f"{text} ± {score.spread:.{digits}f}"


def format_difference(score: Score) -> str:
    """The difference to the baseline with its interval, such as "+0.012 [+0.004, +0.020]"; may be empty."""
    if score.difference is None:
        return ""
    scale, unit = (100.0, " pp") if score.metric.startswith("right:") else (1.0, "")
    bounds = [score.difference, *(b for b in (score.low, score.high) if b is not None)]
    digits = 1 if unit else _decimals(max(abs(score.value), max(abs(bound) for bound in bounds)))
    first, *rest = [f"{scale * bound + 0.0:+.{digits}f}" for bound in bounds]
    return f"{first}{unit} [{', '.join(rest)}]" if rest else f"{first}{unit}"


def _decimals(magnitude: float) -> int:
    """Decimals that show a value of this magnitude with about four digits."""
    for limit, digits in ((100.0, 1), (10.0, 2), (1.0, 3)):
        if magnitude >= limit:
            return digits
    return 4


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, Sequence[Any]], name: str
) -> None:
    """Append an experiment's columns in one statement; row by row, thousands of rows take seconds."""
    if not columns or not next(iter(columns.values())):
        return
    connection.register("fresh", pa.table({name: pa.array(values) for name, values in columns.items()}))
    connection.execute(f"insert into {table} by name select ? as experiment, * from fresh", [name])
    connection.unregister("fresh")


def _tables() -> list[str]:
    types = {"str": "text", "int": "integer", "float": "double", "float | None": "double"}
    columns = ", ".join(f"{field.name} {types[str(field.type)]}" for field in fields(Score))
    return [
        f"create table if not exists scores (experiment text, position integer, {columns})",
        "create table if not exists prompt_scores "
        "(experiment text, variant text, metric text, prompt text, value double)",
        "create table if not exists score_runs (experiment text, prompts integer, notes text[])",
    ]
