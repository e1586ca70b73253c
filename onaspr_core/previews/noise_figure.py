"""What inverted noise is like, for the preview of its asset: a figure, and a table of numbers.

The numbers of single latents come from their records; values are read for the figure alone, one latent at a
time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from torch import Tensor

from onaspr_core.compute import Preview
from onaspr_core.diffusion.noise import SPACE, TIME, autocorrelation
from onaspr_core.drawing import figure_bytes
from onaspr_core.markdown import table
from onaspr_core.media.contact_sheet import PAPER, contact_sheet
from onaspr_core.media.images import png_bytes
from onaspr_core.media.video import Frames

Floats = npt.NDArray[np.float64]

EDGES = np.linspace(-5.0, 5.0, 61)
LAGS = 8
ROWS = 20
WIDTH = 6.8
"""Inches; at the reports' resolution as wide as a contact sheet of two columns."""
SPATIAL, TEMPORAL, GREY = "#2f7fc4", "#c47f17", "#8a9099"

_NUMBERS = ("mean", "variance", "kurtosis", "spatial_autocorrelation", "temporal_autocorrelation")


@dataclass(frozen=True)
class NoiseSummary:
    """What latents are like together.

    Attributes:
        density: Share of all values per unit, in the bins of `EDGES`.
        outside: Share of all values beyond the bins.
        spatial: (latents, lags) correlation of values 1, 2 … apart in space; NaN where there is none.
        temporal: The same in time.
    """

    density: Floats
    outside: float
    spatial: Floats
    temporal: Floats


def noise_preview(
    noises: Iterable[Tensor],
    named: Sequence[tuple[str, Mapping[str, Any]]],
    clips: Sequence[Frames],
    labels: Sequence[str],
) -> Preview | None:
    """Return a contact sheet of clips with the figure below it, and the table; None where there is no noise.

    Args:
        noises: Latents (C, T, h, w), each read when it is its turn.
        named: Names and records of latents, those of `noises` and more.
        clips: Clips to show; may be empty.
        labels: One label each.
    """
    summary = summarize(noises)
    if summary is None:
        return None
    errors = [record["round_trip_error"] for _, record in named]
    known = [error for error in errors if error is not None]
    figure = figure_bytes(partial(draw_noise, summary, known), "png")
    png = _below(contact_sheet(clips, labels), figure) if clips else figure
    return Preview(markdown=_numbers(named), png=png)


def summarize(noises: Iterable[Tensor]) -> NoiseSummary | None:
    """Look at latents one after another; None where there are none."""
    counts, values = np.zeros(len(EDGES) - 1), 0
    spatial: list[list[float]] = []
    temporal: list[list[float]] = []
    for noise in noises:
        counts += np.histogram(noise.numpy(), EDGES)[0]
        values += noise.numel()
        for found, axes in ((spatial, SPACE), (temporal, TIME)):
            at_lags = [autocorrelation(noise, axes, lag) for lag in range(1, LAGS + 1)]
            found.append([np.nan if value is None else value for value in at_lags])
    if not values:
        return None
    density = counts / values / np.diff(EDGES)
    return NoiseSummary(density, 1 - counts.sum() / values, np.array(spatial), np.array(temporal))


def draw_noise(summary: NoiseSummary, errors: Sequence[float]) -> Figure:
    """Draw values against N(0, 1), correlations by lag against 0, and round-trip errors in rising order."""
    figure = Figure(figsize=(WIDTH, 2.3), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.02))
    values, lags, trips = figure.subplots(1, 3)
    _draw_values(values, summary)
    _draw_lags(lags, summary)
    _draw_errors(trips, errors)
    for axes in (values, lags, trips):
        axes.tick_params(labelsize=7, left=False)
    return figure


def _draw_values(axes: Axes, summary: NoiseSummary) -> None:
    axes.stairs(summary.density, EDGES, fill=True, color=SPATIAL, alpha=0.45, label="inverted noise")
    normal = np.exp(-(EDGES**2) / 2) / np.sqrt(2 * np.pi)
    axes.plot(EDGES, normal, color="#1d2127", linewidth=1.1, label="N(0, 1)")
    axes.set_ylim(0, 1.3 * max(float(summary.density.max()), float(normal.max())))
    axes.set_yticks([])
    axes.legend(fontsize=6.5, frameon=False, loc="upper left", ncols=2, handlelength=1.2, columnspacing=1)
    beyond = f"; {summary.outside:.2%} lie beyond" if summary.outside > 0 else ""
    latents = len(summary.spatial)
    _title(axes, f"Values of {latents} latent{'s' if latents > 1 else ''}", f"value{beyond}")


def _draw_lags(axes: Axes, summary: NoiseSummary) -> None:
    axes.axhline(0.0, color="#b9bcc2", linewidth=1, zorder=0)
    drawn = (("space", summary.spatial, SPATIAL, "o"), ("time", summary.temporal, TEMPORAL, "s"))
    for name, found, colour, marker in drawn:
        known = ~np.isnan(found).all(axis=0)
        if not known.any():
            continue
        lags, found = np.arange(1, LAGS + 1)[known], found[:, known]
        middle, spread = np.nanmean(found, axis=0), np.nanstd(found, axis=0)
        axes.fill_between(lags, middle - spread, middle + spread, color=colour, alpha=0.2, linewidth=0)
        axes.plot(lags, middle, marker=marker, markersize=3, color=colour, linewidth=1.3, label=name)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.1), max(high, 0.25))
    axes.set_xticks(range(1, LAGS + 1))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6.5, frameon=False, loc="upper right")
    _title(axes, "Correlation by distance", "lag; mean and deviation of latents")


def _draw_errors(axes: Axes, errors: Sequence[float]) -> None:
    if errors:
        axes.plot(range(1, len(errors) + 1), sorted(errors), "o", markersize=2.5, color=SPATIAL)
        axes.axhline(float(np.mean(errors)), color=GREY, linewidth=1, linestyle="--")
        axes.set_ylim(0, 1.15 * max(errors) or 1.0)
        axes.locator_params(axis="x", nbins=5, integer=True)
        told = f"clips, best first; mean {np.mean(errors):.3g}"
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        told = "not measured"
    _title(axes, "Round-trip error", told)


def _title(axes: Axes, title: str, told: str) -> None:
    axes.set_title(title, fontsize=8, loc="left", fontweight="bold")
    axes.set_xlabel(told, fontsize=7, color="#5c636e", loc="left")


def _below(above: bytes, below: bytes) -> bytes:
    """Two pictures, one below the other."""
    parts = [Image.open(io.BytesIO(data)).convert("RGB") for data in (above, below)]
    size = (max(part.width for part in parts), sum(part.height for part in parts))
    both = Image.new("RGB", size, PAPER)
    top = 0
    for part in parts:
        both.paste(part, (0, top))
        top += part.height
    return png_bytes(both)


def _numbers(named: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    rows = [
        (name, *map(_told, (record["round_trip_error"], *(record["diagnostics"][n] for n in _NUMBERS))))
        for name, record in named[:ROWS]
    ]
    columns = ("clip", "round-trip error", *(name.replace("_", " ") for name in _NUMBERS))
    return table(columns, rows)


def _told(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
