"""Video files to arrays of frames and back, through PyAV.

What does not belong here: which frames a file gives and when it is refused (`decoding`), what a pool's clip
is (`pool.cut`), and pictures for people (`reports`).
"""

import itertools
import tempfile
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from onaspr_core.errors import UserError
from onaspr_core.media.decoding import EXACT, Picture, pictures

Frames = npt.NDArray[np.uint8]
"""uint8, (frames, height, width, 3), RGB."""

_REPEATABLE = {"threads": "1", "mbtree": "0", "a53cc": "0"}
"""Options of x264 under which equal frames give equal bytes. Its macroblock tree, with AVX-512 and frames of
a few blocks' width, also reads what happens to lie in memory; clips of a second lose nothing without it.
Subtitles that a source's frames carry along are no part of the picture."""


def read_frames(source: str | BinaryIO, *, stride: int = 1, limit: int | None = None) -> Frames:
    """Decode a video into RGB frames.

    Args:
        source: A path, an fsspec URL, or an open binary file that can seek.
        stride: Keep frames 0, stride, 2·stride … counted in display order, whatever their times.
        limit: Stop after this many kept frames; what lies behind them is neither decoded nor checked.

    Returns:
        uint8 (F, H, W, 3) with F ≥ 1, turned upright where the file says it was filmed rotated.

    Raises:
        UserError: when the file is missing, unreadable, holds no video, changes the size of its frames, or
            ends before the frames that its container lists.
    """
    name = source if isinstance(source, str) else "video"
    # One for all frames: to set up the conversion takes longer than to convert a small frame.
    reformatter = VideoReformatter()
    kept = pictures(source, name, stride=stride, limit=limit)
    frames = [_rgb(picture, reformatter) for picture in kept]
    if len(sizes := {frame.shape[:2] for frame in frames}) > 1:
        told = ", ".join(f"{width} × {height}" for height, width in sorted(sizes))
        raise UserError(f"{name}: frames of several sizes: {told}")
    return np.stack(frames)


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
    reformatter = VideoReformatter()
    data, _ = mux_mp4((_yuv420p(pixels, reformatter) for pixels in even), fps, {"crf": str(crf)})
    return data


def mux_mp4(frames: Iterable[av.VideoFrame], fps: float, options: Mapping[str, str]) -> tuple[bytes, int]:
    """Encode frames in yuv420p as an H.264 MP4 with its index in front; return it and the number of frames.

    Args:
        frames: At least one, all of one even size and of the colour matrix that the first one names.
        fps: Frames per second of the file.
        options: Options of x264, beside those that make it repeatable.
    """
    # Frames may come from a file that turns out to have none: nothing is opened before the first.
    upcoming = iter(frames)
    first = next(upcoming)
    # The index is moved to the front by reading the file again, so it needs a real one.
    with tempfile.TemporaryDirectory(prefix="onaspr-") as folder:
        path = Path(folder, "video.mp4")
        rate = Fraction(fps).limit_denominator(100_000)
        count = _mux(first, upcoming, path, rate, options)
        return path.read_bytes(), count


def _rgb(picture: Picture, reformatter: VideoReformatter) -> Frames:
    rgb = reformatter.reformat(picture.frame, format="rgb24", interpolation=EXACT)
    pixels = rgb.to_ndarray().astype(np.uint8, copy=False)
    swapped, mirrored, upside_down = picture.orientation
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    if mirrored:
        pixels = pixels[:, ::-1]
    if upside_down:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _yuv420p(pixels: Frames, reformatter: VideoReformatter) -> av.VideoFrame:
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame = reformatter.reformat(
        image, format="yuv420p", dst_colorspace=Colorspace.ITU601, interpolation=EXACT
    )
    frame.colorspace = Colorspace.ITU601
    return frame


def _mux(
    first: av.VideoFrame,
    others: Iterable[av.VideoFrame],
    path: Path,
    rate: Fraction,
    options: Mapping[str, str],
) -> int:
    container_options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", container_options=container_options) as container:
        stream = container.add_stream("libx264", rate=rate, options={**options, **_REPEATABLE})
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = first.height, first.width
        stream.codec_context.colorspace = first.colorspace
        stream.codec_context.color_range = ColorRange.MPEG
        count = 0
        for frame in itertools.chain((first,), others):
            frame.pts, frame.time_base = count, 1 / rate
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode())
    return count
