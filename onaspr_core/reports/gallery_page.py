"""The gallery's page: what it shows as plain values, and the HTML made of them.

Pure: nothing is read from a store here, and every text is escaped by the template. How the values are
gathered and which files lie beside the page is the concern of `gallery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from onaspr_core.evaluation.metrics import Metric
from onaspr_core.evaluation.score_layout import (
    count_of,
    footnotes,
    format_difference,
    format_value,
    mark_rule,
)
from onaspr_core.evaluation.score_table import Score, ScoreTable
from onaspr_core.variants import VARIANTS, title_of

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class VideoView:
    """One video or image of a prompt: `file` relative to the page, or None and the `reason` it is missing.

    `key` is what `python -m onaspr_core.provenance` knows it by.
    `clipsim` and `gain` (over the baseline) are None where they were not measured; `attributes` are
    (name, what the prompt asks for, whether the classifier found it).
    """

    variant: str
    file: str | None
    key: str | None = None
    reason: str = ""
    clipsim: float | None = None
    gain: float | None = None
    attributes: Sequence[tuple[str, str, bool]] = ()
    provenance: Sequence[tuple[str, str]] = ()

    @property
    def title(self) -> str:
        """The variant's name for people."""
        return title_of(self.variant)

    @property
    def all_right(self) -> bool:
        """Whether every attribute was found (False where none was measured)."""
        return bool(self.attributes) and all(right for _, _, right in self.attributes)


@dataclass(frozen=True)
class ReferenceView:
    """One retrieved caption with its cosine similarity to the prompt."""

    caption: str
    similarity: float


@dataclass(frozen=True)
class PromptView:
    """One prompt with its videos, neighbour, references and rewrite (None before there are any)."""

    id: str
    text: str
    videos: Sequence[VideoView]
    neighbour_file: str | None
    references: Sequence[ReferenceView]
    rewrite: str | None
    fallback_reason: str | None

    @property
    def words(self) -> str:
        """What the search box looks through, in lower case."""
        parts = [self.id, self.text, self.rewrite or "", *(one.caption for one in self.references)]
        return " ".join(parts).lower()

    @property
    def gain(self) -> float | None:
        """CLIPSIM gain of the last variant, the full method."""
        return self.videos[-1].gain if self.videos else None


@dataclass(frozen=True)
class GalleryView:
    """The whole page. `settings` are groups of (name, value); `pixelated` keeps small frames crisp.

    With `images` the generated files are pictures, and neighbours' clips show the frame that was inverted,
    their first, without playing.
    """

    experiment: str
    summary: str
    settings: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    table: ScoreTable
    prompts: Sequence[PromptView]
    pixelated: bool
    images: bool = False


def render_page(view: GalleryView) -> str:
    """The page as one HTML document; style and script are inside, files beside it, nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("gallery.html.j2").render(
        view=view,
        rows=[_table_row(view.table, metric) for metric in view.table.metrics],
        notes=footnotes(view.table),
        mark_rule=mark_rule(view.table),
        variants=VARIANTS,
        title_of=title_of,
        style=Markup((TEMPLATES / "gallery.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "gallery.js").read_text(encoding="utf-8")),
    )


def template_texts() -> dict[str, str]:
    """The texts a page is made from besides its values, for its content key."""
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.iterdir()) if path.is_file()
    }


def _table_row(table: ScoreTable, metric: Metric) -> Mapping[str, object]:
    scores = [table.get(variant, metric.key) for variant in table.variants]
    bounds = [abs(b) for s in scores if s for b in (s.difference, s.low, s.high) if b is not None]
    reach = max(bounds, default=0.0)
    cells = [_cell(table, score, metric, reach) if score else None for score in scores]
    return {"metric": metric, "count": count_of(table, metric), "cells": cells}


def _cell(table: ScoreTable, score: Score, metric: Metric, reach: float) -> Mapping[str, object]:
    verdict = "even"
    if table.supported(score) and score.difference is not None:
        verdict = "better" if (score.difference < 0) == metric.lower_is_better else "worse"
    return {
        "value": format_value(score),
        "difference": format_difference(score),
        "verdict": verdict,
        "interval": _glyph(score, reach),
    }


def _glyph(score: Score, reach: float) -> Mapping[str, float] | None:
    """Positions 0 … 100 of the interval in a bar whose middle is no difference."""
    if score.difference is None or score.low is None or score.high is None or reach == 0.0:
        return None
    low, middle, high = (50 + 46 * one / reach for one in (score.low, score.difference, score.high))
    return {"low": round(low, 2), "middle": round(middle, 2), "high": round(high, 2)}
