"""Still and animated images as frames (JPEG, PNG, WebP, GIF, AVIF, BMP, TIFF), and PNG back, through Pillow.

Images are turned upright by their EXIF orientation. Where they are transparent they lie on white, as in
img2dataset. What does not belong here: videos (`decoding`).
"""

import io
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, ImageSequence

from onaspr_core.errors import PassingError, UserError
from onaspr_core.media.decoding import Picture, check_frames, check_pixels, opaque
from onaspr_core.media.frame_reader import TOLERANCE

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")


def image_pictures(
    source: str | BinaryIO,
    head: bytes,
    name: str,
    stride: int,
    limit: int | None,
    span: tuple[float, float | None],
) -> Iterator[Picture]:
    """Yield frames of an image file, `head` its first bytes, as `decoding.pictures` does those of a video.

    Raises:
        UserError: when the file is refused by a rule, or Pillow cannot read it.
    """
    start, stop = span
    number = kept = 0
    for time, image in _frames(source, head, name):
        if stop is not None and time >= stop - TOLERANCE:
            break
        if time < start - TOLERANCE:
            continue
        if number % stride == 0:
            check_frames(kept + 1, name)
            yield Picture(_frame(image))
            kept += 1
            if kept == limit:
                return
        number += 1
    if not kept:
        raise UserError(f"{name}: the span lies outside the video: nothing is shown from {start:g} s on")


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture, uint8 (H, W, 3), as PNG; equal pictures give equal bytes."""
    return png_bytes(Image.fromarray(pixels))


def png_bytes(image: Image.Image) -> bytes:
    """Encode an image as PNG, without a date; equal pictures give equal bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def _frames(source: str | BinaryIO, head: bytes, name: str) -> Iterator[tuple[float, Image.Image]]:
    """Yield each frame with the time in seconds at which it is first shown."""
    check_pixels(*_webp_canvas(head), name)
    try:
        with Image.open(source, formats=_FORMATS) as image:
            check_pixels(*image.size, name)
            time = 0.0
            for frame in ImageSequence.Iterator(image):
                frame.load()
                yield time, frame
                time += (frame.info.get("duration") or 100) / 1000
    except (UserError, MemoryError, FileNotFoundError):
        raise
    except OSError as problem:
        # Pillow's own words for a broken file have no number; a disk or network that failed has one.
        if problem.errno is not None:
            raise PassingError(f"{name}: cannot be read: {problem}") from problem
        raise _broken(name, problem) from problem
    except Image.DecompressionBombError as problem:
        raise UserError(f"{name}: too many pixels: {problem}") from problem
    # Pillow's readers raise whatever a broken file leads them to: SyntaxError, struct.error …
    except Exception as problem:
        raise _broken(name, problem) from problem


def _broken(name: str, problem: Exception) -> UserError:
    kind = "truncated" if "truncated" in str(problem) else "unreadable image"
    return UserError(f"{name}: {kind}: {str(problem) or type(problem).__name__}")


def _frame(image: Image.Image) -> av.VideoFrame:
    if image.mode.startswith("I;16"):
        # Pillow would clip grey of 16 bits to 255.
        return av.VideoFrame.from_ndarray((np.asarray(image) >> 8).astype(np.uint8), format="gray")
    upright = ImageOps.exif_transpose(image)
    mode = "RGBA" if upright.has_transparency_data else "RGB"
    pixels = np.asarray(upright.convert(mode))
    return opaque(av.VideoFrame.from_ndarray(pixels, format="rgba" if mode == "RGBA" else "rgb24"))


def _webp_canvas(head: bytes) -> tuple[int, int]:
    """Width and height of an animated or extended WebP: Pillow takes its memory before it tells."""
    if head[8:16] != b"WEBPVP8X":
        return 0, 0
    return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
