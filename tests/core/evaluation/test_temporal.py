"""Flicker and frame consistency against hand-worked values."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.temporal import flicker, frame_consistency, temporal_flickering


def frames(*levels: int) -> np.ndarray:
    return np.stack([np.full((4, 6, 3), level, dtype=np.uint8) for level in levels])


def test_flicker_is_the_mean_step_up_or_down() -> None:
    assert flicker(frames(10, 250, 0)) == (240 + 250) / 2
    assert flicker(frames(7, 7, 7)) == 0.0
    half = frames(0, 0)
    half[1, :2] = 100
    assert flicker(half) == 50.0


def test_vbenchs_score_is_one_for_a_still_and_zero_for_black_and_white() -> None:
    assert temporal_flickering(frames(9, 9)) == 1.0
    assert temporal_flickering(frames(0, 255, 0)) == 0.0
    assert temporal_flickering(frames(0, 51)) == pytest.approx(0.8)


def test_noise_has_the_flicker_that_vbench_computes() -> None:
    video = np.random.default_rng(0).integers(0, 256, size=(5, 8, 8, 3), dtype=np.uint8)
    floats = video.astype(np.float32)
    vbench = np.mean([np.abs(one - two).mean() for one, two in pairwise(floats)])
    assert temporal_flickering(video) == pytest.approx((255.0 - vbench) / 255.0, rel=1e-6)


def test_consistency_is_the_mean_cosine_of_neighbours() -> None:
    assert frame_consistency([[1.0, 0], [0, 3.0], [0, 5.0]]) == pytest.approx(0.5)
    assert frame_consistency([[1.0, 1.0], [-2.0, -2.0]]) == pytest.approx(-1.0)
    assert frame_consistency(np.ones((4, 3), dtype=np.float32)) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [frames(1), frames(1, 2).astype(np.float32), frames(1, 2)[0]])
def test_what_has_no_flicker_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(UserError):
        flicker(bad)


@pytest.mark.parametrize("bad", [[[1.0, 2.0]], [[0.0, 0.0], [1.0, 0.0]], [[np.nan, 0], [1, 0]], [1.0, 2.0]])
def test_what_has_no_consistency_is_refused(bad: npt.ArrayLike) -> None:
    with pytest.raises(UserError):
        frame_consistency(bad)
