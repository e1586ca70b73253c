"""Video files to arrays of frames and back, through PyAV; and the square crop that every clip gets.

What does not belong here: which frames of which file become a clip (`clips`), and pictures for people
(`reports`).
"""

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import fsspec
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from PIL import Image

from onaspr_core.errors import PassingError, UserError

Frames = npt.NDArray[np.uint8]
"""uint8, (frames, height, width, 3), RGB."""

SMALLEST_MARGIN = 2
"""A container may list this many frames more than it holds before the file counts as truncated."""

_EXACT = Interpolation(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
)

_REPEATABLE = {"threads": "1", "mbtree": "0"}
"""Options of x264 under which equal frames give equal bytes. Its macroblock tree, with AVX-512 and frames of
a few blocks' width, also reads what happens to lie in memory; clips of a second lose nothing without it."""


def read_frames(source: str | BinaryIO, *, stride: int = 1, limit: int | None = None) -> Frames:
    """Decode a video into RGB frames.

    Args:
        source: A path, an fsspec URL, or an open binary file that can seek.
        stride: Keep frames 0, stride, 2·stride … counted in display order, whatever their times.
        limit: Stop after this many kept frames; what lies behind them is neither decoded nor checked.

    Returns:
        uint8 (F, H, W, 3) with F ≥ 1, turned upright where the file says it was filmed rotated.

    Raises:
        UserError: when the file is missing, unreadable, holds no video, or ends before the frames that its
            container lists.
    """
    return np.stack(list(iterate_frames(source, stride=stride, limit=limit)))


def iterate_frames(source: str | BinaryIO, *, stride: int = 1, limit: int | None = None) -> Iterator[Frames]:
    """Yield what `read_frames` returns, one (H, W, 3) frame at a time, so that long files fit in memory."""
    if stride < 1 or (limit is not None and limit < 1):
        raise ValueError(f"stride and limit must be at least 1, not {stride} and {limit}")
    name = source if isinstance(source, str) else "video"
    try:
        if isinstance(source, str) and "://" in source:
            with fsspec.open(source, "rb") as file:
                yield from _decode(file, name, stride, limit)
        else:
            yield from _decode(source, name, stride, limit)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except (OSError, MemoryError) as problem:
        raise PassingError(f"{name}: cannot be read: {problem}") from problem
    except av.error.FFmpegError as problem:
        raise UserError(f"{name}: unreadable video: {problem.strerror}") from problem


def encode_mp4(frames: Frames, fps: float, crf: int = 12) -> bytes:
    """Encode RGB frames as an H.264 MP4 that plays in a browser; equal input gives equal bytes.

    Args:
        frames: uint8 (F, H, W, 3), F ≥ 1. An odd height or width grows by one pixel, the last row or
            column repeated, because 4:2:0 chroma needs even sizes.
        fps: Frames per second of the file.
        crf: x264's quality, 0 (best) to 51.

    Raises:
        ValueError: when the array has another shape or type, or no frames.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"frames must be uint8 (F, H, W, 3), not {frames.dtype} {frames.shape}")
    height, width = frames.shape[1:3]
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # faststart moves the index to the front by reading the file again, so it needs a real one.
    with tempfile.TemporaryDirectory(prefix="onaspr-") as folder:
        path = Path(folder, "video.mp4")
        _encode(even, path, Fraction(fps).limit_denominator(100_000), crf)
        return path.read_bytes()


def square(frames: Frames, resolution: int) -> Frames:
    """Centre-crop frames to a square and resize them (Lanczos, antialiased).

    Where the shorter side already has `resolution` pixels this is a pure crop, exact to the bit.

    Args:
        frames: uint8 (…, H, W, 3), one frame or several.
        resolution: Height and width of the result, pixels.
    """
    height, width = frames.shape[-3:-1]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cropped = frames[..., top : top + side, left : left + side, :]
    if side == resolution:
        return np.ascontiguousarray(cropped)
    flat = np.ascontiguousarray(cropped).reshape(-1, side, side, 3)
    size = (resolution, resolution)
    resized = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in flat]
    return np.stack(resized).reshape(*frames.shape[:-3], resolution, resolution, 3)


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    if not container.streams.video:
        held = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UserError(f"{name}: no video stream in the file (it holds {held})")
    return container.streams.video[0]


def _decode(source: str | BinaryIO, name: str, stride: int, limit: int | None) -> Iterator[Frames]:
    with av.open(source, "r") as container:
        stream = _video_stream(container, name)
        # One thread: the callers decode several files at once, in processes of their own.
        stream.codec_context.thread_count = 1
        decoded = kept = 0
        whole = True
        for packet in container.demux(stream):
            if packet.is_corrupt:
                whole = False
                break
            for frame in packet.decode():
                if decoded % stride == 0:
                    yield _rgb(frame)
                    kept += 1
                    if kept == limit:
                        return
                decoded += 1
        promised = stream.frames
        margin = max(SMALLEST_MARGIN, promised // 50)
        if decoded == 0:
            raise UserError(f"{name}: no frame could be decoded")
        if not whole or decoded + margin < promised:
            raise UserError(f"{name}: truncated: {decoded} of {promised} frames could be decoded")


def _rgb(frame: av.VideoFrame) -> Frames:
    pixels = frame.reformat(format="rgb24", interpolation=_EXACT).to_ndarray().astype(np.uint8, copy=False)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _encode(frames: Frames, path: Path, rate: Fraction, crf: int) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", container_options=options) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), **_REPEATABLE})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = Colorspace.SMPTE170M
        stream.codec_context.color_range = ColorRange.MPEG
        for pixels in frames:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = image.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601, interpolation=_EXACT)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
