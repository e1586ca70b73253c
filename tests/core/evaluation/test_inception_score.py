"""The inception score against cases worked by hand."""

import numpy as np
import numpy.typing as npt
import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.inception_score import inception_score, joint_probabilities


def test_certain_and_balanced_classes_score_their_number() -> None:
    assert inception_score(np.eye(4), splits=1) == pytest.approx((4.0, 0.0), rel=1e-12)


def test_the_same_answer_everywhere_scores_one() -> None:
    assert inception_score(np.tile([0.2, 0.3, 0.5], (20, 1)), splits=4) == pytest.approx((1.0, 0.0))


def test_two_rows_worked_by_hand() -> None:
    # marginal (0.5, 0.5): KL = 0.9 ln 1.8 + 0.1 ln 0.2 for either row
    divergence = 0.9 * np.log(1.8) + 0.1 * np.log(0.2)
    found = inception_score([[0.9, 0.1], [0.1, 0.9]], splits=1)
    assert found == pytest.approx((np.exp(divergence), 0.0), rel=1e-12)


def test_splits_are_consecutive_and_their_deviation_is_of_the_population() -> None:
    rows = np.concatenate([np.eye(2), np.tile([0.5, 0.5], (2, 1))])
    assert inception_score(rows, splits=2) == pytest.approx((1.5, 0.5))


def test_uneven_splits_use_every_row() -> None:
    rows = np.eye(3)[[0, 1, 2, 0, 1]]
    first, second = 2.0, 3.0
    assert inception_score(rows, splits=2)[0] == pytest.approx((first + second) / 2)


def test_the_joint_distribution_of_groups_is_their_outer_product() -> None:
    joint = joint_probabilities([[[0.25, 0.75]], [[0.5, 0.3, 0.2]]])
    assert joint[0] == pytest.approx([0.125, 0.075, 0.05, 0.375, 0.225, 0.15])


@pytest.mark.parametrize(
    ("rows", "splits", "told"),
    [
        (np.eye(3), 4, "3 sample"),
        ([[0.4, 0.4]], 1, "sum to 1"),
        ([[1.5, -0.5]], 1, "non-negative"),
        ([[np.nan, 1.0]], 1, "sum to 1"),
        ([0.5, 0.5], 1, "samples, classes"),
    ],
)
def test_what_is_no_distribution_is_refused(rows: npt.ArrayLike, splits: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        inception_score(rows, splits)
