"""Contact sheets: sizes, enlargement, order, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from onaspr_core.errors import UserError
from onaspr_core.media.contact_sheet import contact_sheet, enlarge, spread
from onaspr_core.media.video import Frames


def video(colour: tuple[int, int, int], frames: int = 8, size: int = 32) -> Frames:
    return np.full((frames, size, size, 3), colour, np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_every_video_is_on_the_sheet_in_reading_order() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    sheet = np.asarray(opened(contact_sheet([video(c) for c in colours], ["a", "b", "c"], columns=2)))
    places = [np.argwhere((sheet == colour).all(axis=2)).mean(axis=0) for colour in colours]
    assert places[0][0] == places[1][0] < places[2][0]
    assert places[0][1] == places[2][1] < places[1][1]


def test_small_frames_grow_by_whole_factors_and_large_ones_shrink() -> None:
    checks = np.indices((20, 20)).sum(axis=0)[..., None] % 2 * np.full(3, 255)
    grown = np.asarray(enlarge(checks.astype(np.uint8), 64))
    assert grown.shape == (60, 60, 3)
    assert (grown[::3, ::3] == checks).all()
    assert enlarge(video((1, 2, 3), 1, 256)[0], 64).size == (64, 64)


def test_frames_are_spread_from_first_to_last() -> None:
    assert spread(np.arange(16, dtype=np.uint8), 4).tolist() == [0, 5, 10, 15]
    assert spread(np.arange(3, dtype=np.uint8), 8).tolist() == [0, 1, 2]


def test_equal_videos_give_equal_bytes_and_labels_of_any_length_fit() -> None:
    videos = [video((9, 9, 9)), video((8, 8, 8), frames=3, size=48)]
    labels = ["a very long label " * 20, "čšž 漢字 \n two lines"]
    assert contact_sheet(videos, labels) == contact_sheet(videos, labels)


@pytest.mark.parametrize(("videos", "labels"), [([], []), ([video((0, 0, 0))], [])])
def test_a_sheet_without_videos_or_labels_is_refused(videos: list[Frames], labels: list[str]) -> None:
    with pytest.raises(UserError, match="one label each"):
        contact_sheet(videos, labels)


def test_eight_pictures_fill_a_sheet_as_wide_as_one_of_videos() -> None:
    colours = [(20 * i, 0, 90) for i in range(8)]
    sheet = opened(contact_sheet([video(c, frames=1) for c in colours], list("abcdefgh")))
    of_videos = opened(contact_sheet([video(c) for c in colours], list("abcdefgh")))
    assert abs(sheet.width - of_videos.width) < 8
    pixels = np.asarray(sheet)
    places = [np.argwhere((pixels == colour).all(axis=2)) for colour in colours]
    assert [len(place) for place in places] == [256 * 256] * 8
    rows = [place[:, 0].min() for place in places]
    assert rows[:4] == [rows[0]] * 4 and rows[4:] == [rows[4]] * 4 and rows[4] > rows[0]


def test_clips_of_one_frame_among_others_are_laid_out_as_videos() -> None:
    mixed = [video((9, 9, 9), frames=1), video((8, 8, 8))]
    assert contact_sheet(mixed, ["a", "b"]) == contact_sheet(mixed, ["a", "b"], 2, tile=64)
