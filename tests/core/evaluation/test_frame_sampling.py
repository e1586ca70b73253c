"""Every frame rule of PROTOCOL's metrics table, short videos included."""

from collections import Counter

import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.frame_sampling import (
    ALL_FRAMES,
    FID_GENERATED,
    FID_REAL,
    FID_REAL_BESIDE_IMAGES,
    FrameRule,
    fvd_real,
    spread_evenly,
)


@pytest.mark.parametrize(
    ("rule", "frames", "expected"),
    [
        (FID_GENERATED, 16, (0, 4, 8, 12, 15)),
        (FID_GENERATED, 17, (0, 4, 8, 12, 16)),
        (FID_GENERATED, 40, (0, 4, 8, 12, 16)),
        (FID_GENERATED, 14, (0, 4, 8, 12, 13)),
        (FID_GENERATED, 13, (0, 3, 6, 9, 12)),
        (FID_GENERATED, 8, (0, 2, 4, 5, 7)),
        (FID_GENERATED, 5, (0, 1, 2, 3, 4)),
        (FID_GENERATED, 4, (0, 1, 2, 2, 3)),
        (FID_GENERATED, 2, (0, 0, 1, 1, 1)),
        (FID_GENERATED, 1, (0, 0, 0, 0, 0)),
        (FID_REAL, 300, (0, 12, 24, 36, 48)),
        (FID_REAL, 49, (0, 12, 24, 36, 48)),
        (FID_REAL, 48, (0, 12, 24, 36, 47)),
        (FID_REAL, 37, (0, 9, 18, 27, 36)),
        (FID_REAL, 20, (0, 5, 10, 14, 19)),
        (ALL_FRAMES, 5, (0, 1, 2, 3, 4)),
        (fvd_real(16), 300, tuple(range(0, 80, 5))),
        (fvd_real(16), 76, tuple(range(0, 80, 5))),
        (fvd_real(16), 75, (0, 5, 10, 15, 20, 25, 30, 35, 39, 44, 49, 54, 59, 64, 69, 74)),
        (fvd_real(16), 16, tuple(range(16))),
        (fvd_real(16), 1, (0,) * 16),
        (fvd_real(8), 72, (0, 5, 10, 15, 20, 25, 30, 35)),
        (fvd_real(8, stride=8), 72, (0, 8, 16, 24, 32, 40, 48, 56)),
        (fvd_real(1), 9, (0,)),
    ],
)
def test_each_rule_takes_these_frames(rule: FrameRule, frames: int, expected: tuple[int, ...]) -> None:
    assert rule.indices(frames) == expected


def test_beside_images_a_video_gives_up_to_five_frames_and_an_image_itself() -> None:
    taken = {frames: FID_REAL_BESIDE_IMAGES.indices(frames) for frames in (1, 12, 13, 49, 5000)}
    assert taken == {1: (0,), 12: (0,), 13: (0, 12), 49: (0, 12, 24, 36, 48), 5000: (0, 12, 24, 36, 48)}
    assert FID_REAL_BESIDE_IMAGES.last_index == 48


@pytest.mark.parametrize("rule", [FID_GENERATED, FID_REAL])
def test_no_frame_is_taken_twice_where_there_are_enough_and_as_evenly_as_can_be_where_not(
    rule: FrameRule,
) -> None:
    for frames in range(1, 60):
        times = Counter(rule.indices(frames))
        assert sum(times.values()) == 5
        assert len(times) == min(5, frames), frames
        assert max(times.values()) - min(times.values()) <= 1


def test_frames_that_follow_protocol_are_not_spread() -> None:
    for frames in (14, 15, 16):
        assert FID_GENERATED.indices(frames) == (0, 4, 8, 12, frames - 1)
    assert "repeat" in FID_GENERATED.name
    assert FrameRule(5, 4, short="spread").name != FID_GENERATED.name


def test_rules_have_different_names_and_equal_rules_equal_ones() -> None:
    rules = [FID_GENERATED, FID_REAL, ALL_FRAMES, fvd_real(16), fvd_real(8), fvd_real(16, stride=8)]
    assert len({rule.name for rule in rules}) == len(rules)
    assert FrameRule(5, 4).name == FID_GENERATED.name


def test_evenly_spread_frames_begin_and_end_with_the_video_and_never_go_back() -> None:
    for frames in range(1, 60):
        chosen = spread_evenly(frames, 16)
        assert (chosen[0], chosen[-1]) == (0, frames - 1)
        assert list(chosen) == sorted(chosen)
        assert max(abs(i - j * (frames - 1) / 15) for j, i in enumerate(chosen)) <= 0.5


def test_no_frame_behind_the_last_index_is_asked_for() -> None:
    assert FID_REAL.last_index == 48
    assert fvd_real(16).last_index == 75


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(UserError, match="without frames"):
        ALL_FRAMES.indices(0)
