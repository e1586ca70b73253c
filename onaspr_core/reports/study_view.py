"""A study as the report shows it: a table, and of a sweep a curve. Plain values, nothing is read.

Belongs here: what a study hands to the page. Does not belong here: computing a number, and HTML (`page`).
"""

from __future__ import annotations

from dataclasses import dataclass

from onaspr_core.evaluation.score_table import Verdict

NOT_COMPARABLE = "†"
"""What stands behind a number of the paper that does not compare with the one above it."""


@dataclass(frozen=True)
class StudyCell:
    """One number as it is printed, and what stands under it.

    `value` is such as "43.21" or "none", `difference` such as "-1.2 [-3.4, +0.9]" or empty. `paper` is the
    paper's own number as printed, or empty; `comparable` says whether it may be compared with `value`.
    """

    value: str
    difference: str = ""
    verdict: Verdict = "even"
    paper: str = ""
    comparable: bool = False


@dataclass(frozen=True)
class StudyRow:
    """One row with a cell per column; rows of one `group` (a backbone or experiment) stand under its name."""

    label: str
    cells: tuple[StudyCell, ...]
    group: str = ""


@dataclass(frozen=True)
class Series:
    """One metric along a curve; every tuple has one entry per point, None where there is no number.

    `title` is such as "FID", `arrow` "↓" or "↑". `differences` are the 95 % bounds of the difference to the
    first point, `paper` the paper's own values, which are `comparable` where all of them are.
    """

    title: str
    arrow: str
    values: tuple[float | None, ...]
    differences: tuple[tuple[float, float] | None, ...]
    paper: tuple[float | None, ...]
    comparable: bool = False


@dataclass(frozen=True)
class Curve:
    """Metrics over one setting: `axis` is such as "η", `points` its labels, evenly spaced in this order."""

    axis: str
    points: tuple[str, ...]
    series: tuple[Series, ...]


@dataclass(frozen=True)
class StudyView:
    """One study: `name` is such as "figure_4", `experiment` empty where it spans several.

    `columns` are such as "FID ↓". `pictures` are (path relative to the reports' folder, alternative text).
    """

    name: str
    title: str
    experiment: str
    columns: tuple[str, ...]
    rows: tuple[StudyRow, ...]
    notes: tuple[str, ...]
    curve: Curve | None = None
    pictures: tuple[tuple[str, str], ...] = ()

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The notes, with what the sign behind the paper's numbers means where one stands."""
        marked = any(one.paper and not one.comparable for row in self.rows for one in row.cells)
        return (*self.notes, *([f"{NOT_COMPARABLE} the paper's; not comparable."] if marked else []))
