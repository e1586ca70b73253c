from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from onaspr_core.media.decoding import Orientation, Picture, pictures
from onaspr_core.media.video import encode_mp4
from onaspr_core.pool.squares import Squarer
from tests.core.media.odd_files import Frames, texture, write_av


def picture(pixels: Frames, *how: object) -> Picture:
    return Picture(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"), *how)  # type: ignore[arg-type]


def rgb(square: av.VideoFrame) -> Frames:
    return square.to_ndarray(format="rgb24").astype(np.uint8)


def by_pillow(pixels: Frames, resolution: int) -> Frames:
    """The central square, resized by another library."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return np.asarray(cropped.resize((resolution, resolution), Image.Resampling.LANCZOS))


def difference(one: Frames, other: Frames) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(
    ("height", "width", "resolution"),
    [
        (48, 96, 32),
        (96, 48, 32),
        (97, 61, 32),
        (61, 97, 32),
        (360, 641, 256),
        (20, 31, 64),
        (1, 1, 16),
        (3, 50, 16),
    ],
)
def test_a_square_is_the_centre_resized_as_pillow_resizes_it(
    height: int, width: int, resolution: int
) -> None:
    pixels = texture(1, height, width)[0]
    square = rgb(Squarer(resolution)(picture(pixels)))
    assert square.shape == (resolution, resolution, 3)
    # Colour of half resolution, and at odd sizes a centre that is a pixel off, cost a few levels.
    assert difference(square, by_pillow(pixels, resolution)) < 6


def test_a_frame_that_fits_is_cropped_and_not_a_bit_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(encode_mp4(texture(3, 32, 48), 8.0, crf=4))
    for one in pictures(str(path), "file"):
        stored, square = one.frame.to_ndarray(), Squarer(32)(one).to_ndarray()
        assert np.array_equal(square[:32], stored[:32, 8:40])


def test_stripes_finer_than_the_result_become_their_mean_and_no_pattern() -> None:
    stripes = np.zeros((64, 90, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(rgb(Squarer(16)(picture(stripes)))[:, 1:-1].astype(int) - 100).max() <= 4


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2), Fraction(4, 3)])
def test_pixels_that_are_not_square_count_as_wide_as_they_are(aspect: Fraction) -> None:
    shown = texture(1, 96, 192)[0]
    stored = np.asarray(Image.fromarray(shown).resize((round(192 / aspect), 96), Image.Resampling.LANCZOS))
    assert difference(rgb(Squarer(48)(picture(stored, aspect))), by_pillow(shown, 48)) < 6


def test_a_files_own_aspect_is_used(tmp_path: Path) -> None:
    shown = texture(2, 64, 128)
    stored = np.stack(
        [np.asarray(Image.fromarray(f).resize((64, 64), Image.Resampling.LANCZOS)) for f in shown]
    )
    path = write_av(
        tmp_path / "a.mp4",
        stored,
        codec="libx264",
        pix_fmt="yuv444p",
        aspect=Fraction(2),
        options={"crf": "4"},
    )
    squares = [rgb(Squarer(32)(one)) for one in pictures(str(path), "file")]
    for square, frame in zip(squares, shown, strict=True):
        assert difference(square, by_pillow(frame, 32)) < 6


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (Orientation(True, False, False), lambda f: f.swapaxes(0, 1)),
        (Orientation(True, True, False), lambda f: np.rot90(f, -1)),
        (Orientation(True, False, True), lambda f: np.rot90(f, 1)),
        (Orientation(False, True, False), lambda f: f[:, ::-1]),
        (Orientation(False, True, True), lambda f: np.rot90(f, 2)),
    ],
)
def test_a_frame_is_turned_upright(orientation: Orientation, turned: object) -> None:
    pixels = texture(1, 64, 96)[0]
    square = rgb(Squarer(32)(picture(pixels, Fraction(1), orientation)))
    assert difference(square, by_pillow(turned(pixels), 32)) < 6  # type: ignore[operator]


@pytest.mark.parametrize("matrix", [1, 5, 7])
@pytest.mark.parametrize("range_", [1, 2])
def test_colours_stay_under_every_matrix_and_range(matrix: int, range_: int, tmp_path: Path) -> None:
    frames = np.zeros((2, 32, 48, 3), np.uint8) + np.array((30, 160, 210), np.uint8)
    path = write_av(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="yuv444p", colour=(matrix, range_))
    for one in pictures(str(path), "file"):
        assert (one.frame.colorspace, one.frame.color_range) == (matrix, range_)
        square = Squarer(32)(one)
        assert (square.format.name, square.colorspace, square.color_range) == ("yuv420p", matrix, 1)
        assert np.abs(rgb(square).astype(int) - frames[0, :, :32]).max() <= 3


def test_frames_of_another_size_in_one_file_become_squares_too() -> None:
    squarer = Squarer(32)
    for height, width in ((48, 64), (64, 48), (64, 48), (48, 64)):
        pixels = texture(1, height, width)[0]
        assert difference(rgb(squarer(picture(pixels))), by_pillow(pixels, 32)) < 6


def test_what_the_sources_encoder_decided_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(encode_mp4(texture(6, 32, 48), 8.0))
    found = list(pictures(str(path), "file"))
    assert {one.frame.pict_type for one in found} != {0}
    assert {Squarer(32)(one).pict_type for one in found} == {0}


def test_equal_frames_give_equal_squares_whatever_lies_in_memory() -> None:
    pixels = texture(1, 361, 641)[0]
    first = rgb(Squarer(256)(picture(pixels)))
    for _ in range(5):
        spoiled = [np.full(n, 255, np.uint8) for n in (100_000, 5000, 70_000)]
        del spoiled
        assert np.array_equal(rgb(Squarer(256)(picture(pixels))), first)
