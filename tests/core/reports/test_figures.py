"""Figures: what is drawn, equal bytes for equal inputs, and nothing where there is nothing."""

import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from onaspr_core.drawing import figure_bytes
from onaspr_core.evaluation.score_table import ScoreTable, keep_scores
from onaspr_core.reports.figures import Strip, draw_scores, draw_strips, write_figures
from onaspr_core.workspace import Workspace


def test_the_interval_drawn_is_the_interval_of_the_table(table: ScoreTable) -> None:
    panels = draw_scores(table).axes
    assert len(panels) == 3
    interval, point, zero = panels[0].lines
    assert list(np.asarray(interval.get_xdata())) == [-3.0, -1.25]
    assert list(np.asarray(point.get_xdata())) == [-2.0956]
    assert list(np.asarray(zero.get_xdata())) == [0.0, 0.0]
    assert list(np.asarray(panels[2].lines[0].get_xdata())) == [0.5, 2.0]


def test_a_point_is_filled_only_under_a_per_prompt_metric_whose_interval_leaves_out_zero(
    table: ScoreTable,
) -> None:
    fid, clipsim, right = draw_scores(table).axes
    assert fid.lines[1].get_markerfacecolor() == "white"
    assert clipsim.lines[1].get_markerfacecolor() == "white"
    assert right.lines[1].get_markerfacecolor() != "white"


def test_variants_have_their_names_for_people(table: ScoreTable) -> None:
    labels = [label.get_text() for label in draw_scores(table).axes[0].get_yticklabels()]
    assert labels == ["ONA"]


def test_equal_inputs_give_equal_bytes(table: ScoreTable) -> None:
    for form in ("png", "svg"):
        assert figure_bytes(partial(draw_scores, table), form) == figure_bytes(
            partial(draw_scores, table), form
        )


def test_a_strip_shows_the_frames_and_takes_dollars_for_dollars() -> None:
    video = np.zeros((4, 16, 16, 3), np.uint8)
    figure = draw_strips([Strip("a $5 and a $6 ball", [("baseline", video), ("ona_spr", video)])])
    assert len(figure.subfigs[0].axes) == 8
    picture = Image.open(io.BytesIO(figure_bytes(lambda: figure, "png")))
    assert picture.width > picture.height


def test_figures_are_written_once_with_a_preview(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    first, second = write_figures(reported, e), write_figures(reported, e)
    assert (first.total, first.computed, second.computed) == (4, 4, 0)
    assert second.preview is not None
    assert second.preview.png.startswith(b"\x89PNG")
    assert (Path(reported.reports_path) / "e" / "frames.svg").read_bytes().startswith(b"<?xml")


def test_without_scores_only_frames_are_drawn(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    keep_scores(reported, ScoreTable("e", 2, ()), [])
    assert write_figures(reported, e).facts["figures"] == "frames.png, frames.svg"
