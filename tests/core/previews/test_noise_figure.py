"""What the preview of inverted noise shows, and that its numbers are those of the latents."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onaspr_core.diffusion.noise import diagnostics, random_noise
from onaspr_core.previews.noise_figure import EDGES, LAGS, draw_noise, noise_preview, summarize


def latents(count: int = 3, shape: tuple[int, ...] = (4, 5, 16, 16)) -> list[torch.Tensor]:
    return [random_noise(shape, seed=1, prompt_id=str(i), sample_index=0) for i in range(count)]


def record(noise: torch.Tensor, error: float | None) -> dict[str, Any]:
    return {"round_trip_error": error, "diagnostics": diagnostics(noise)}


def test_the_summary_of_gaussian_noise_is_the_bell_curve_without_correlation() -> None:
    summary = summarize(latents(8, (4, 9, 32, 32)))
    assert summary is not None
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    assert np.abs(summary.density - np.exp(-(middles**2) / 2) / np.sqrt(2 * np.pi)).max() < 0.01
    assert float(summary.density @ np.diff(EDGES)) + summary.outside == pytest.approx(1)
    assert summary.spatial.shape == summary.temporal.shape == (8, LAGS)
    assert np.abs(summary.spatial).max() < 0.03 and np.abs(summary.temporal).max() < 0.05


def test_the_first_lag_is_the_diagnostics_own_and_lags_beyond_the_latent_have_none() -> None:
    [noise] = latents(1)
    summary = summarize([noise])
    assert summary is not None
    told = diagnostics(noise)
    assert summary.spatial[0, 0] == told["spatial_autocorrelation"]
    assert summary.temporal[0, 0] == told["temporal_autocorrelation"]
    assert np.isnan(summary.temporal[0, 4:]).all() and not np.isnan(summary.temporal[0, :4]).any()


def test_values_beyond_the_bins_are_counted() -> None:
    noise = torch.zeros(1, 1, 2, 2)
    noise[0, 0, 0, 0] = 9.0
    summary = summarize([noise])
    assert summary is not None and summary.outside == pytest.approx(0.25)
    assert "25.00% lie beyond" in draw_noise(summary, []).axes[0].get_xlabel()


def test_the_figure_shows_values_correlations_and_errors_in_order() -> None:
    summary = summarize(latents())
    assert summary is not None
    values, lags, errors = draw_noise(summary, [0.3, 0.1, 0.2]).axes
    assert values.get_title("left") == "Values of 3 latents"
    assert [line.get_label() for line in lags.get_lines()][1:] == ["space", "time"]
    space = lags.get_lines()[1]
    assert np.allclose(np.asarray(space.get_ydata(), float), summary.spatial.mean(0))
    assert list(np.asarray(errors.get_lines()[0].get_ydata(), float)) == [0.1, 0.2, 0.3]
    assert "mean 0.2" in errors.get_xlabel()


def test_images_have_no_correlation_in_time_and_what_was_not_measured_is_said() -> None:
    summary = summarize(latents(2, (4, 1, 8, 8)))
    assert summary is not None
    figure = draw_noise(summary, [])
    assert [line.get_label() for line in figure.axes[1].get_lines()][1:] == ["space"]
    assert figure.axes[2].get_xlabel() == "not measured"


def test_the_preview_has_clips_above_the_figure_and_a_row_for_each_latent() -> None:
    noises = latents()
    named = [(f"pair{i}", record(noise, None if i else 0.25)) for i, noise in enumerate(noises)]
    clip = np.zeros((8, 32, 32, 3), np.uint8)
    alone, both = noise_preview(noises, named, [], []), noise_preview(noises, named, [clip] * 2, ["a", "b"])
    assert alone is not None and both is not None
    small, large = (Image.open(io.BytesIO(one.png)) for one in (alone, both))
    assert small.width == large.width == 1088 and large.height > small.height
    assert both.png == noise_preview(noises, named, [clip] * 2, ["a", "b"]).png  # type: ignore[union-attr]
    rows = both.markdown.splitlines()
    assert (
        len(rows) == 5 and rows[2].startswith("| pair0 | 0.250 |") and rows[3].startswith("| pair1 | none |")
    )
    assert f"| {named[0][1]['diagnostics']['variance']:.3f} |" in rows[2]


def test_without_noise_there_is_no_preview() -> None:
    assert noise_preview([], [], [], []) is None
