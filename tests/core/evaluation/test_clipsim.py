"""CLIPSIM against hand-worked cosines."""

import numpy as np
import numpy.typing as npt
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.clipsim import clipsim


def test_it_is_the_mean_cosine_over_frames_whatever_the_lengths() -> None:
    assert clipsim([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]], [5.0, 0.0]) == pytest.approx((1 + 0 + 0.5**0.5) / 3)


def test_opposite_embeddings_are_minus_one() -> None:
    assert clipsim([[0.0, -1.0]], [0.0, 4.0]) == -1.0


@pytest.mark.parametrize(
    ("frames", "text"), [([[0.0, 0.0]], [1.0, 0]), ([[np.nan, 1.0]], [1.0, 0]), ([[1.0]], [1, 0])]
)
def test_what_has_no_cosine_is_refused(frames: npt.ArrayLike, text: npt.ArrayLike) -> None:
    with pytest.raises(UserError):
        clipsim(frames, text)
