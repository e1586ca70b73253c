import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onaspr_core.errors import PassingError, UserError
from onaspr_core.media.decoding import pictures
from onaspr_core.media.video import read_frames
from tests.core.media.odd_files import Frames, texture

EXACT: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
    "JPEG": {"quality": 95},
    "AVIF": {"quality": 95},
}


def file_of(form: str, *frames: Frames, **how: Any) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    several = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    images[0].save(buffer, form, **several, **how)
    return buffer.getvalue()


def greys(count: int) -> list[Frames]:
    """Images of one grey level each, ten levels apart."""
    return [np.full((16, 24, 3), 10 * (i + 1), np.uint8) for i in range(count)]


def levels(data: bytes, **how: Any) -> list[int]:
    found = pictures(io.BytesIO(data), "file", **how)
    return [round(float(p.frame.to_ndarray().mean()) / 10) - 1 for p in found]


def refusal(data: bytes) -> str:
    with pytest.raises(UserError) as raised:
        list(pictures(io.BytesIO(data), "file"))
    assert not isinstance(raised.value, PassingError)
    return str(raised.value)


@pytest.mark.parametrize("form", EXACT)
def test_a_still_image_is_one_frame(form: str, tmp_path: Path) -> None:
    image = texture(1, 24, 36)[0]
    (tmp_path / "a.mp4").write_bytes(file_of(form, image, **EXACT[form]))
    (frame,) = read_frames(str(tmp_path / "a.mp4"))
    assert np.abs(frame.astype(int) - image).mean() < (0.01 if form in ("PNG", "WEBP", "BMP", "TIFF") else 6)


@pytest.mark.parametrize("form", ["GIF", "WEBP"])
def test_an_animated_image_is_its_frames(form: str) -> None:
    data = file_of(form, *greys(20), duration=40, **EXACT[form])
    assert levels(data) == list(range(20))
    assert levels(data, stride=8) == [0, 8, 16]
    assert levels(data, stride=3, limit=4) == [0, 3, 6, 9]
    assert levels(data, start=0.2, stop=0.4) == [5, 6, 7, 8, 9]


def test_frames_of_an_animation_are_shown_as_long_as_they_say() -> None:
    data = file_of("GIF", *greys(5), duration=[100, 500, 20, 20, 100])
    assert levels(data, start=0.6, stop=0.63) == [2, 3]


@pytest.mark.parametrize(("form", "how"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparency_lies_on_white(form: str, how: dict[str, Any]) -> None:
    image = np.full((8, 16, 4), 40, np.uint8)
    image[:, :8, 3], image[:, 8:12, 3], image[:, 12:, 3] = 255, 127, 0
    (frame,) = read_frames(io.BytesIO(file_of(form, image, **how)))
    assert (frame[:, :8] == 40).all()
    assert np.abs(frame[:, 8:12].astype(int) - 148).max() <= 1
    assert (frame[:, 12:] == 255).all()


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_a_transparent_colour_of_a_palette_lies_on_white(form: str) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8).repeat(8, axis=0).repeat(4, axis=1), "P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    buffer = io.BytesIO()
    image.save(buffer, form, transparency=1)
    (frame,) = read_frames(io.BytesIO(buffer.getvalue()))
    assert frame[0, 0].tolist() == [200, 0, 0]
    assert frame[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "I;16", "LA"])
def test_images_that_are_not_rgb_look_as_they_should(mode: str) -> None:
    grey = np.linspace(0, 255, 16 * 24).reshape(16, 24).astype(np.uint8)
    if mode == "1":
        grey = np.where(grey > 127, 255, 0).astype(np.uint8)
    deep = Image.fromarray(grey.astype(np.uint16) << 8)
    image = deep if mode == "I;16" else Image.fromarray(grey).convert(mode)
    assert image.mode == mode
    buffer = io.BytesIO()
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    (frame,) = read_frames(io.BytesIO(buffer.getvalue()))
    assert np.abs(frame.astype(int) - grey[..., None]).max() <= 1


def test_a_photograph_is_turned_by_its_orientation() -> None:
    image = texture(1, 24, 40)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    (frame,) = read_frames(io.BytesIO(file_of("JPEG", image, exif=exif, quality=95)))
    assert frame.shape == (40, 24, 3)
    assert np.abs(frame.astype(int) - np.rot90(image, -1)).mean() < 5


@pytest.mark.parametrize("form", EXACT)
def test_a_truncated_image_is_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    data = file_of(form, noise, **EXACT[form])
    reason = refusal(data[: len(data) // 2])
    assert reason.startswith(("file: truncated", "file: unreadable image"))


def test_damage_gives_a_reason_or_a_frame_and_never_another_error() -> None:
    rng = np.random.default_rng(0)
    for form in EXACT:
        whole = file_of(form, texture(1, 40, 40)[0], **EXACT[form])
        for _ in range(25):
            data = bytearray(whole)
            start = int(rng.integers(0, len(data) - 8))
            data[start : start + 8] = rng.bytes(8)
            try:
                assert len(list(pictures(io.BytesIO(bytes(data)), "file"))) >= 1
            except UserError as problem:
                assert not isinstance(problem, PassingError)
