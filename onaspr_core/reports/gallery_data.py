"""What a gallery shows as plain values, and the JSON its page reads: what stands above, cards, provenance.

Pure: nothing is read from a store here. How the values are gathered is the concern of `gallery`, how they
look that of `page` and its templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onaspr_core import code_versions
from onaspr_core.evaluation.metrics import Metric
from onaspr_core.evaluation.score_layout import (
    count_of,
    footnotes,
    format_difference,
    format_value,
    mark_rule,
)
from onaspr_core.evaluation.score_table import Score, ScoreTable
from onaspr_core.variants import title_of

CHUNK = 100
"""How many prompts' provenance lies in one file."""

Values = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class VideoView:
    """One video or image of a prompt: its content `key`, or None and the `reason` it is missing.

    `clipsim` and `gain` (over the baseline) are None where they were not measured; `attributes` are
    (name, what the prompt asks for, whether the classifier found it).
    """

    variant: str
    key: str | None
    reason: str = ""
    clipsim: float | None = None
    gain: float | None = None
    attributes: Sequence[tuple[str, str, bool]] = ()


@dataclass(frozen=True)
class PromptView:
    """One prompt with its videos, its neighbour's clip, references and rewrite (None before there are any).

    `references` are (caption, cosine similarity), the neighbour's first.
    """

    id: str
    text: str
    videos: Sequence[VideoView]
    clip_key: str | None
    references: Sequence[tuple[str, float]]
    rewrite: str | None
    fallback_reason: str | None


@dataclass(frozen=True)
class GalleryView:
    """The whole gallery. `settings` are groups of (name, value); `pixelated` keeps small frames crisp.

    Files lie in the folder `noun` + "s" as key + `suffix`. Where the noun is "image", neighbours' clips show
    the frame that was inverted, their first, without playing.
    """

    experiment: str
    summary: str
    settings: Sequence[tuple[str, Values]]
    table: ScoreTable
    prompts: Sequence[PromptView]
    pixelated: bool
    noun: str
    suffix: str


def script_call(function: str, *arguments: Any) -> bytes:
    """A script that hands JSON to one of the page's functions, safe wherever a script may stand.

    It is ASCII without "<": no text in it ends a script element or a line.

    Raises:
        ValueError: for NaN and infinite numbers.
    """
    texts = [json.dumps(value, separators=(",", ":"), allow_nan=False) for value in arguments]
    return f"{function}({','.join(texts)});\n".replace("<", "\\u003c").encode("ascii")


def head_data(view: GalleryView) -> dict[str, Any]:
    """What stands above the cards, as JSON has it: name, summary, settings, score table."""
    return {
        "version": code_versions.GALLERY,
        "experiment": view.experiment,
        "summary": view.summary,
        "noun": view.noun,
        "pixelated": view.pixelated,
        "settings": [[group, [list(pair) for pair in pairs]] for group, pairs in view.settings],
        "scores": _scores_data(view.table),
    }


def gallery_data(view: GalleryView) -> dict[str, Any]:
    """What the cards need, as JSON has it; what a prompt lacks is left out."""
    return {
        "experiment": view.experiment,
        "noun": view.noun,
        "suffix": view.suffix,
        "chunk": CHUNK,
        "prompts": [_prompt_data(prompt) for prompt in view.prompts],
    }


def chunks_of(prompts: Sequence[PromptView]) -> list[Sequence[PromptView]]:
    """The prompts in groups of `CHUNK`, one per file of provenance."""
    return [prompts[start : start + CHUNK] for start in range(0, len(prompts), CHUNK)]


def _prompt_data(prompt: PromptView) -> dict[str, Any]:
    return _present(
        id=prompt.id,
        text=prompt.text,
        videos=[_video_data(video) for video in prompt.videos],
        clip=prompt.clip_key,
        references=[[caption, round(similarity, 6)] for caption, similarity in prompt.references],
        rewrite=prompt.rewrite,
        refused=prompt.fallback_reason,
    )


def _video_data(video: VideoView) -> dict[str, Any]:
    return _present(
        variant=video.variant,
        title=title_of(video.variant),
        key=video.key,
        missing=video.reason or None,
        clipsim=None if video.clipsim is None else round(video.clipsim, 6),
        gain=None if video.gain is None else round(video.gain, 6),
        attributes=[list(one) for one in video.attributes] or None,
    )


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _scores_data(table: ScoreTable) -> dict[str, Any]:
    """The score table laid out; without rows where there are no scores."""
    rows = [_table_row(table, metric) for metric in table.metrics]
    return {
        "variants": [[variant, title_of(variant)] for variant in table.variants],
        "rows": rows,
        "notes": footnotes(table) if rows else list(table.notes),
        "rule": mark_rule(table),
    }


def _table_row(table: ScoreTable, metric: Metric) -> dict[str, Any]:
    scores = [table.get(variant, metric.key) for variant in table.variants]
    bounds = [abs(b) for s in scores if s for b in (s.difference, s.low, s.high) if b is not None]
    reach = max(bounds, default=0.0)
    return {
        "title": metric.title,
        "arrow": metric.arrow,
        "better": "lower" if metric.lower_is_better else "higher",
        "accuracy": metric.is_accuracy,
        "number": count_of(table, metric),
        "cells": [_cell(table, score, reach) if score else None for score in scores],
    }


def _cell(table: ScoreTable, score: Score, reach: float) -> dict[str, Any]:
    return {
        "value": format_value(score),
        "difference": format_difference(score),
        "verdict": table.verdict(score),
        "interval": _glyph(score, reach),
    }


def _glyph(score: Score, reach: float) -> Mapping[str, float] | None:
    """Positions 0 … 100 of the interval in a bar whose middle is no difference."""
    if score.difference is None or score.low is None or score.high is None or reach == 0.0:
        return None
    low, middle, high = (50 + 46 * one / reach for one in (score.low, score.difference, score.high))
    return {"low": round(low, 2), "middle": round(middle, 2), "high": round(high, 2)}
