"""Figures of an experiment: differences with their intervals, and frames of baseline beside the method.

The numbers come from the score table as they are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onaspr_core import code_versions, generation
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Outcome, Preview
from onaspr_core.drawing import figure_bytes
from onaspr_core.errors import UserError
from onaspr_core.evaluation.metrics import Metric
from onaspr_core.evaluation.score_layout import count_of, format_value, mark_rule
from onaspr_core.evaluation.score_table import Score, ScoreTable, scores_of
from onaspr_core.media.contact_sheet import spread
from onaspr_core.media.video import Frames
from onaspr_core.prompts import load_prompts
from onaspr_core.reports.files import ReportFile, report_folder, write_files
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS, title_of
from onaspr_core.workspace import Workspace

COMPARED = ("baseline", "ona_spr")
"""What is shown of a prompt's videos; of pictures there is room for every variant."""
PROMPTS_SHOWN = 4
FRAMES_SHOWN = 8
COLOURS = {"baseline": "#8a9099", "ona": "#2f7fc4", "spr": "#c47f17", "ona_spr": "#1d8a67"}
NOTHING = 1e-12
"""Differences below this are rounding; where all are, an axis reaches from -1 to 1."""
_FORMATS = ("png", "svg")
_PICTURE, _LABEL = 1.7, 1.5
"""Inches that a picture of the grid, and the prompt beside it, are wide."""

Shown = list[tuple[str, list[tuple[str, str]]]]
"""Prompts with the videos that are shown of each: text, and (variant, video key)."""


@dataclass(frozen=True)
class Strip:
    """One prompt of the frame strip: its text, and per shown variant the frames, uint8 (F, H, W, 3)."""

    text: str
    videos: Sequence[tuple[str, Frames]]


def write_figures(workspace: Workspace, e: Experiment) -> Outcome:
    """Write `scores.png/.svg` and, like the paper's Figure 3, `frames.png/.svg` to the report folder.

    The frames are of the first prompts of the file that have all videos shown, not of chosen ones; pictures
    are laid in a grid. A figure that has nothing to show is left out, and facts say so.
    """
    table = scores_of(workspace, e)
    drawn_by = {"version": code_versions.FIGURES, "library": matplotlib.__version__}
    files: list[ReportFile] = []
    if any(score.difference is not None for score in table.scores):
        key = content_key("scores-figure", **drawn_by, table=table.key)
        files += in_formats("scores", key, partial(draw_scores, table))
    variants = tuple(VARIANTS) if workspace.settings.backbones[e.backbone].makes_images else COMPARED
    shown = shown_videos(workspace, e, variants)
    if shown:
        draw = draw_grid if workspace.settings.backbones[e.backbone].makes_images else draw_strips
        key = content_key("frames-figure", **drawn_by, shown=shown)
        files += in_formats("frames", key, partial(draw_shown, workspace, shown, draw))
    folder = report_folder(workspace, e)
    outcome = write_files("figures", folder, files, prune=True)
    facts = {
        "folder": str(folder),
        "figures": ", ".join(file.path for file in files) or "nothing to show yet",
    }
    picture = folder.found("frames.png")
    preview = None if picture is None else Preview(png=picture)
    return replace(outcome, facts=facts, preview=preview)


def draw_scores(table: ScoreTable) -> Figure:
    """One panel per metric: each variant's difference to the baseline with its 95 % interval.

    A point is filled where the difference is supported, which that of a set metric never is.
    """
    metrics = [metric for metric in table.metrics if compared(table, metric)]
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(3.6 * columns, 1.85 * rows + 0.7), layout="constrained")
    title = f"{table.experiment}: difference to the baseline, 95 % intervals"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", parse_math=False)
    told = f"Filled: {mark_rule(table)}. Set metrics are never filled."
    figure.supxlabel(told, fontsize=7.5, x=0.01, ha="left", color="#5c636e")
    for i, metric in enumerate(metrics):
        draw_metric(figure.add_subplot(rows, columns, i + 1), table, metric)
    return figure


def draw_strips(strips: Sequence[Strip]) -> Figure:
    """Frames from left to right, one row per video, prompts one below another, as in Figure 3."""
    if not strips:
        raise UserError("A frame strip needs at least one prompt with videos.")
    count = max(len(video) for strip in strips for _, video in strip.videos)
    rows = sum(len(strip.videos) for strip in strips)
    figure = Figure(figsize=(0.95 * count + 1.1, 0.95 * rows + 0.36 * len(strips)), layout="constrained")
    blocks = figure.subfigures(
        len(strips), 1, squeeze=False, height_ratios=[len(strip.videos) + 0.38 for strip in strips]
    )
    for block, strip in zip(blocks[:, 0], strips, strict=True):
        block.suptitle(strip.text, fontsize=9, x=0.01, ha="left", parse_math=False)
        axes = block.subplots(len(strip.videos), count, squeeze=False)
        for line, (variant, video) in zip(axes, strip.videos, strict=True):
            _draw_video(line, variant, video)
    return figure


def draw_grid(strips: Sequence[Strip]) -> Figure:
    """Pictures, the first frame of each video: one row per prompt, one column per variant."""
    if not strips:
        raise UserError("A grid of pictures needs at least one prompt with pictures.")
    rows, columns = len(strips), len(strips[0].videos)
    height, width = strips[0].videos[0][1].shape[1:3]
    tall = _PICTURE * height / width
    lines = max(1, int(tall / 0.17))
    figure = Figure(figsize=(_LABEL + _PICTURE * columns, tall * rows + 0.25), layout="constrained")
    axes = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=[_LABEL / _PICTURE, *[1] * columns])
    for line, strip in zip(axes, strips, strict=True):
        line[0].set_axis_off()
        text = textwrap.fill(strip.text, 20, max_lines=lines, placeholder=" …")
        line[0].text(
            0, 1, text, fontsize=9, ha="left", va="top", transform=line[0].transAxes, parse_math=False
        )
        for place, (_, video) in zip(line[1:], strip.videos, strict=True):
            _draw_frame(place, video[0])
    for place, (variant, _) in zip(axes[0, 1:], strips[0].videos, strict=True):
        place.set_title(title_of(variant), fontsize=9, color=COLOURS.get(variant, "#444444"))
    return figure


def in_formats(name: str, key: str, draw: Callable[[], Figure]) -> list[ReportFile]:
    """The same figure in every format, drawn anew for each: saving a figure moves its layout."""
    return [
        ReportFile(f"{name}.{form}", f"{key} {form}", partial(figure_bytes, draw, form)) for form in _FORMATS
    ]


def draw_metric(axes: Axes, table: ScoreTable, metric: Metric) -> None:
    """One metric's differences to the table's first set with 95 % intervals, filled where supported."""
    scores = compared(table, metric)
    scale = 100.0 if metric.is_accuracy else 1.0
    for place, score in enumerate(reversed(scores)):
        middle = scale * (score.difference or 0.0)
        colour = COLOURS.get(score.variant, "#444444")
        if score.low is not None and score.high is not None:
            axes.plot([scale * score.low, scale * score.high], [place, place], color=colour, linewidth=2.2)
        axes.plot(
            [middle],
            [place],
            "o",
            color=colour,
            markersize=6,
            markerfacecolor=colour if table.supported(score) else "white",
        )
    axes.axvline(0.0, color="#b9bcc2", linewidth=1, zorder=0)
    reach = max((abs(b) for s in scores for b in (s.difference, s.low, s.high) if b is not None), default=0)
    if reach < NOTHING:
        axes.set_xlim(-1, 1)
    axes.set_yticks(range(len(scores)), [title_of(s.variant) for s in reversed(scores)])
    axes.set_ylim(-0.6, len(scores) - 0.4)
    axes.tick_params(left=False, labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    base = table.get(table.variants[0], metric.key)
    unit = ", percentage points" if metric.is_accuracy else ""
    title = f"{metric.title} {metric.arrow}{unit}"
    axes.set_title(title, fontsize=9.5, loc="left", fontweight="bold")
    told = f"{table.variants[0]} {format_value(base)}, " if base else ""
    axes.set_xlabel(f"{told}n = {count_of(table, metric)}", fontsize=7.5, color="#5c636e", loc="left")


def _draw_video(line: npt.NDArray[np.object_], variant: str, video: Frames) -> None:
    for i, axes in enumerate(line):
        _draw_frame(axes, video[i] if i < len(video) else None)
    line[0].set_ylabel(title_of(variant), fontsize=8, color=COLOURS.get(variant, "#444444"))


def _draw_frame(axes: Axes, frame: Frames | None) -> None:
    """Draw a frame (H, W, 3), or leave its place empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if frame is not None:
        axes.imshow(frame, interpolation="nearest" if len(frame) <= 128 else "antialiased")


def compared(table: ScoreTable, metric: Metric) -> list[Score]:
    """The scores of a metric that have a difference, in the table's order."""
    found = [table.get(variant, metric.key) for variant in table.variants]
    return [score for score in found if score is not None and score.difference is not None]


def shown_videos(workspace: Workspace, e: Experiment, variants: Sequence[str]) -> Shown:
    """The first prompts of an experiment whose videos of these variants are all there."""
    keys = {
        variant: {item.prompt.id: item.key for item in generation.video_items(workspace, e, variant)}
        for variant in variants
    }
    wanted = [key for by_prompt in keys.values() for key in by_prompt.values()]
    existing = workspace.store.existing(VIDEO, wanted)
    shown = [
        (prompt.text, [(variant, keys[variant][prompt.id]) for variant in variants])
        for prompt in load_prompts(workspace, e)
        if all(keys[variant].get(prompt.id) in existing for variant in variants)
    ]
    return shown[:PROMPTS_SHOWN]


def draw_shown(workspace: Workspace, shown: Shown, draw: Callable[[Sequence[Strip]], Figure]) -> Figure:
    """Read the videos that are shown, and draw them as strips or as a grid."""
    return draw(
        [
            Strip(
                text,
                [
                    (variant, spread(generation.read_video(workspace, key), FRAMES_SHOWN))
                    for variant, key in videos
                ],
            )
            for text, videos in shown
        ]
    )
