"""Scores as they are kept and handed on: typed rows in the catalog, and the table they form.

Computing a score is the concern of `scoring`, writing a table for people that of `score_layout`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import duckdb
import pyarrow as pa

from onaspr_core.artifacts import content_key
from onaspr_core.evaluation.comparisons import Comparison, supported
from onaspr_core.evaluation.metrics import METRICS, Metric, metric_named
from onaspr_core.evaluation.statistics import Interval
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

TABLES = ("scores", "prompt_scores", "score_runs")
Verdict = Literal["even", "better", "worse"]

EARLIER = "earlier_"
"""Before a table's name: the rows that the present ones replaced."""


@dataclass(frozen=True)
class Score:
    """One metric of one variant.

    `n` videos were scored and `missing` were not there; `n_real` is the size of the real side (0 where
    there is none). `rows` and `rows_real` are how many samples the metric's statistics saw of either side:
    more than videos where several frames of each are compared. `splits` is the inception score's, `spread`
    its standard deviation over them (None for one split), or an extrapolation's standard error. `difference`
    is this variant less the baseline over the `n_paired` prompts that both have, with the bounds of its
    95 % interval; `interval` says how these were made, `p_value` is the sign-flip test's.
    `label` and `extractor` name the features, `fingerprint` identifies them. Of a per-prompt metric `wins` is
    the share of the paired prompts where the variant is better, with its 95 % bounds, and `prompts_needed`
    how many would be needed to see the difference (`comparisons`). `caution` says why not to trust the value.
    """

    variant: str
    metric: str
    value: float
    spread: float | None
    n: int
    n_real: int
    missing: int
    rows: int
    rows_real: int
    splits: int | None
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
    wins: float | None = None
    wins_low: float | None = None
    wins_high: float | None = None
    prompts_needed: int | None = None
    caution: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """All scores of an experiment, and what a reader must know beside them."""

    experiment: str
    prompts: int
    scores: tuple[Score, ...]
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Hash of everything that the table says, labels and notes included."""
        return content_key("score-table", table=asdict(self))

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants in the order they were scored."""
        return tuple(dict.fromkeys(score.variant for score in self.scores))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics that have a score, in the order of `METRICS`, then attribute accuracies."""
        present = dict.fromkeys(score.metric for score in self.scores)
        own = [metric for metric in METRICS if metric.key in present]
        return (*own, *(metric_named(key) for key in present if metric_named(key) not in METRICS))

    @property
    def family(self) -> int:
        """How many differences of one metric are tested together, at most."""
        counts = Counter(one.metric for one in self.scores if one.p_value is not None)
        return max(counts.values(), default=0)

    def supported(self, score: Score) -> bool:
        """Whether the difference of one of its scores may be marked.

        It may where the interval leaves out zero and the sign-flip test finds a difference at 5 %, corrected
        by Holm for all variants under the metric. Never for a set metric, which has no value of a prompt to
        test.
        """
        if score.difference is None or score.low is None or score.high is None:
            return False
        family = [
            (one.variant, Comparison(Interval(one.difference, one.low, one.high), one.p_value))
            for one in self.scores
            if one.metric == score.metric and metric_named(one.metric).per_prompt
            if one.difference is not None and one.low is not None and one.high is not None
        ]
        marks = supported([comparison for _, comparison in family])
        return any(mark for (variant, _), mark in zip(family, marks, strict=True) if variant == score.variant)

    def verdict(self, score: Score) -> Verdict:
        """What the difference of one of its scores comes to: even where it may not be marked."""
        if score.difference is None or not self.supported(score):
            return "even"
        better = (score.difference < 0) == metric_named(score.metric).lower_is_better
        return "better" if better else "worse"

    def get(self, variant: str, metric: str) -> Score | None:
        """The score of a variant under a metric, or None where it could not be computed."""
        return next((s for s in self.scores if s.variant == variant and s.metric == metric), None)


def scores_of(workspace: Workspace, e: Experiment, *, earlier: bool = False) -> ScoreTable:
    """The experiment's scores from the catalog; an empty table before the first scoring.

    With `earlier` those that the present ones replaced: the last ones that were other than these. Scores
    that an earlier version kept with other columns count as none: scoring brings them back.
    """
    before = EARLIER if earlier else ""
    with workspace.catalog.read() as connection:
        if _columns(connection, f"{before}scores") != _wanted_columns():
            return ScoreTable(e.name, 0, ())
        columns = ", ".join(field.name for field in fields(Score))
        rows = connection.execute(
            f"select {columns} from {before}scores where experiment = ? order by position", [e.name]
        ).fetchall()
        about = connection.execute(
            f"select prompts, notes from {before}score_runs where experiment = ?", [e.name]
        ).fetchone()
    prompts, notes = about or (0, [])
    return ScoreTable(e.name, prompts, tuple(Score(*row) for row in rows), tuple(notes))


def prompt_scores_of(
    workspace: Workspace, e: Experiment, *, earlier: bool = False
) -> dict[str, dict[str, dict[str, float]]]:
    """Per-prompt values as variant → metric → prompt id → value; `earlier` as in `scores_of`."""
    before = EARLIER if earlier else ""
    rows = workspace.catalog.rows(
        f"select variant, metric, prompt, value from {before}prompt_scores where experiment = ?", [e.name]
    )
    result: dict[str, dict[str, dict[str, float]]] = {}
    for variant, metric, prompt, value in rows or ():
        result.setdefault(variant, {}).setdefault(metric, {})[prompt] = value
    return result


def keep_scores(
    workspace: Workspace,
    table: ScoreTable,
    per_prompt: Sequence[tuple[str, str, str, float]],
) -> None:
    """Replace the experiment's rows in the catalog, in one transaction; the replaced ones become the earlier.

    `per_prompt` rows are (variant, metric, prompt id, value).
    """
    name = table.experiment
    with workspace.catalog.write() as connection:
        if _columns(connection, "scores") != _wanted_columns():
            for kept in TABLES:
                connection.execute(f"drop table if exists {kept}")
                connection.execute(f"drop table if exists {EARLIER}{kept}")
        for statement in _tables():
            connection.execute(statement)
        for kept in TABLES:
            connection.execute(f"create table if not exists {EARLIER}{kept} as from {kept} limit 0")
            connection.execute(f"delete from {EARLIER}{kept} where experiment = ?", [name])
            connection.execute(f"insert into {EARLIER}{kept} from {kept} where experiment = ?", [name])
            connection.execute(f"delete from {kept} where experiment = ?", [name])
        notes = list(table.notes)
        connection.execute("insert into score_runs values (?, ?, ?)", [name, table.prompts, notes])
        own = {field.name: [getattr(score, field.name) for score in table.scores] for field in fields(Score)}
        _insert(connection, "scores", {"position": range(len(table.scores)), **own}, name)
        columns = zip(("variant", "metric", "prompt", "value"), zip(*per_prompt, strict=True), strict=False)
        _insert(connection, "prompt_scores", dict(columns), name)


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    """Columns that a table of scores in the catalog has; none before the first scoring."""
    query = "select column_name from information_schema.columns where table_name = ?"
    return {name for (name,) in connection.execute(query, [table]).fetchall()}


def _wanted_columns() -> set[str]:
    return {"experiment", "position", *(field.name for field in fields(Score))}


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
    types = {"str": "text", "int": "integer", "float": "double"}
    own = ((field.name, str(field.type).removesuffix(" | None")) for field in fields(Score))
    columns = ", ".join(f"{name} {types[kind]}" for name, kind in own)
    return [
        f"create table if not exists scores (experiment text, position integer, {columns})",
        "create table if not exists prompt_scores "
        "(experiment text, variant text, metric text, prompt text, value double)",
        "create table if not exists score_runs (experiment text, prompts integer, notes text[])",
    ]
