"""A study's curve as the page's script draws it: numbers where points lie, and each point in words. Pure."""

from __future__ import annotations

import math
from typing import Any

from onaspr_core.reports.study_view import Series, StudyView


def curve_data(study: StudyView) -> dict[str, Any] | None:
    """The curve as JSON has it, or None where there is none.

    Every series has `values`, `ranges` (the 95 % interval of the difference, laid at the first point's
    value), `paper`, and `words` for each point. Numbers that are not finite are None. Where the table has a
    column "n" and its first rows are the points, the words tell it.

    Raises:
        ValueError: where a series has more or fewer entries than there are points.
    """
    curve = study.curve
    if curve is None:
        return None
    return {
        "axis": curve.axis,
        "points": list(curve.points),
        "series": [_series_data(one, curve.axis, curve.points, _counts(study)) for one in curve.series],
    }


def _counts(study: StudyView) -> tuple[str, ...]:
    points = study.curve.points if study.curve else ()
    if "n" not in study.columns or len(study.rows) < len(points):
        return ("",) * len(points)
    column = study.columns.index("n")
    return tuple(row.cells[column].value for row in study.rows[: len(points)])


def _series_data(
    series: Series, axis: str, points: tuple[str, ...], counts: tuple[str, ...]
) -> dict[str, Any]:
    values = [_finite(value) for value in series.values]
    paper = [_finite(value) for value in series.paper]
    first = values[0] if values else None
    words, ranges = [], []
    for i, (point, value, bounds, theirs, count) in enumerate(
        zip(points, values, series.differences, paper, counts, strict=True)
    ):
        known = bounds if bounds and all(map(math.isfinite, bounds)) else None
        if value is None or first is None or i == 0:
            known = None
        ranges.append([first + known[0], first + known[1]] if known and first is not None else None)
        parts = [f"{axis} {point}: {series.title} {'not measured' if value is None else _number(value)}"]
        if known and value is not None and first is not None:
            digits = _digits(max(abs(bound) for bound in (value, *known)))
            told = [f"{number:+.{digits}f}" for number in (value - first, *known)]
            interval = f"95 % interval [{told[1]}, {told[2]}]"
            parts.append(f"difference to {axis} {points[0]} {told[0]}, {interval}")
        if count:
            parts.append(f"n {count}")
        if theirs is not None:
            parts.append(f"the paper's {theirs:g}{'' if series.comparable else ', not comparable'}")
        words.append("; ".join(parts))
    return {
        "title": series.title,
        "arrow": series.arrow,
        "values": values,
        "ranges": ranges,
        "paper": paper,
        "theirs": "the paper's" if series.comparable else "the paper's, not comparable",
        "words": words,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float) -> str:
    return f"{value:.{_digits(abs(value))}f}"


def _digits(magnitude: float) -> int:
    """Decimals that show a value of this magnitude with about four digits."""
    return 4 if magnitude < 1 else max(0, 3 - math.floor(math.log10(magnitude)))
