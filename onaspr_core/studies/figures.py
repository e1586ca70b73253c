"""A study as a picture: metrics over what it sets, or differences to its first row, or times.

Drawn as the figures of an experiment are (`onaspr_core.reports.figures`), whose style and formats it shares.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onaspr_core.evaluation.score_layout import compared_with, mark_rule
from onaspr_core.reports.figures import compared, draw_metric
from onaspr_core.reports.study_view import Curve, Series, StudyView
from onaspr_core.settings import Experiment
from onaspr_core.studies.paper import paper_numbers
from onaspr_core.studies.plans import TITLES
from onaspr_core.studies.results import Result
from onaspr_core.studies.time_table import METRIC, NAME
from onaspr_core.studies.timings import STAGES, StageTime, machine

COLUMNS = 3
LINE, GREY = "#1d8a67", "#5c636e"


def draw_curve(view: StudyView, curve: Curve) -> Figure:
    """One panel per metric over evenly spaced points, with the intervals of differences to the first."""
    columns = min(COLUMNS, len(curve.series))
    rows = -(-len(curve.series) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.1 * rows + 0.7), layout="constrained")
    title = f"{view.experiment} · {view.title}"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    first = f"{curve.axis} = {curve.points[0]}"
    told = f"Band: 95 % interval of the difference to {first}, drawn from its value (dotted)."
    figure.supxlabel(told, fontsize=7.5, x=0.01, ha="left", color=GREY)
    for place, series in enumerate(curve.series):
        _draw_series(figure.add_subplot(rows, columns, place + 1), curve, series)
    return figure


def draw_differences(result: Result) -> Figure:
    """Panels of one experiment's metrics below another's, as in the figure of an experiment's scores."""
    metrics = [[m for m in block.metrics if compared(block.table, m)] for block in result.blocks]
    lines = [max(1, -(-len(own) // COLUMNS)) for own in metrics]
    tall = sum(n * (0.24 * len(block.rows) + 0.95) for n, block in zip(lines, result.blocks, strict=True))
    figure = Figure(figsize=(3.6 * COLUMNS, tall + 0.9), layout="constrained")
    figure.suptitle(result.title, fontsize=11, x=0.01, ha="left", parse_math=False)
    first = result.blocks[0].table
    told = f"Differences to {compared_with(first)}. Filled: {mark_rule(first)}. Set metrics are never filled."
    figure.supxlabel(told, fontsize=7.5, x=0.01, ha="left", color=GREY)
    parts = figure.subfigures(len(result.blocks), 1, squeeze=False, height_ratios=lines)[:, 0]
    for block, part, own, height in zip(result.blocks, parts, metrics, lines, strict=True):
        if len(result.blocks) > 1:
            part.suptitle(block.experiment.name, fontsize=9.5, x=0.01, ha="left", parse_math=False)
        for place, metric in enumerate(own):
            draw_metric(part.add_subplot(height, COLUMNS, place + 1), block.table, metric)
    return figure


def draw_times(e: Experiment, times: Sequence[StageTime]) -> Figure:
    """Milliseconds of each stage on a logarithmic scale: cold, warm, and the paper's."""
    figure = Figure(figsize=(8.0, 0.5 * len(times) + 1.3), layout="constrained")
    title = f"{e.name} · {TITLES[NAME]}"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    figure.supxlabel(f"Measured on {machine()}; the paper's on an A100.", fontsize=7.5, x=0.01, ha="left")
    axes = figure.subplots()
    places = range(len(times))
    shown = list(reversed(times))
    axes.barh([i + 0.2 for i in places], [one.median for one in shown], 0.36, color=LINE, label="warm")
    axes.barh([i - 0.2 for i in places], [one.cold for one in shown], 0.36, color="#b9d9cd", label="cold")
    numbers = paper_numbers(NAME)
    paper = [(i, numbers[s.stage][METRIC].value) for i, s in enumerate(shown) if s.stage in numbers]
    axes.plot([ms for _, ms in paper], [i for i, _ in paper], "D", color=GREY, markersize=5, label="paper")
    if times:
        axes.set_xscale("log")
    axes.set_yticks(places, [STAGES[one.stage] for one in shown])
    axes.set_xlabel("milliseconds", fontsize=8.5)
    axes.tick_params(left=False, labelsize=8)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def _draw_series(axes: Axes, curve: Curve, series: Series) -> None:
    places = [i for i, value in enumerate(series.values) if value is not None]
    values = [value for value in series.values if value is not None]
    if not values:
        axes.set_axis_off()
        return
    if (first := series.values[0]) is not None:
        axes.axhline(first, color="#b9bcc2", linewidth=1, linestyle=":", zorder=0)
        bounds = [(0, first, first)]
        bounds += [(i, first + d[0], first + d[1]) for i, d in enumerate(series.differences) if d]
        x, low, high = zip(*bounds, strict=True)
        axes.fill_between(x, low, high, color=LINE, alpha=0.14, linewidth=0)
    axes.plot(places, values, "o-", color=LINE, markersize=4, linewidth=1.6)
    axes.set_xticks(range(len(curve.points)), list(curve.points))
    axes.set_xlabel(curve.axis, fontsize=8.5)
    axes.tick_params(labelsize=7.5)
    axes.spines["left"].set_visible(True)
    axes.set_title(f"{series.title} {series.arrow}", fontsize=9.5, loc="left", fontweight="bold")
