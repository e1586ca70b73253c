"""The frames of a video or image file that are asked for, or the rule by which it is refused.

Frames count in display order, whatever their times: "every eighth frame" of a file of variable rate is its
frames 0, 8, 16 … A refusal reads "what is wrong: details", and there are few things that can be wrong, so
that refusals can be counted. What does not belong here: seeking and numbering (`frame_reader`), arrays
(`video`), cropping (`pool.squares`), and where files lie (`pool.media`).
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from onaspr_core.errors import PassingError, UserError
from onaspr_core.folders import is_url, to_read
from onaspr_core.media.frame_reader import TOLERANCE, FrameReader

MOST_PIXELS = 2**26
"""A frame of more is refused before it is decoded: 8192 × 8192, twice an 8K film's."""

MOST_FRAMES = 4096
"""A file of which more frames would be kept is refused."""

EXACT = Interpolation(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
)
"""How formats are converted without a change of size: the same bits on every machine."""

# Playlists and other formats that name further files are not among them: a pool's file must not open others.
_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,asf,ogg,rm,dv,mxf,nut,mjpeg,"
    "yuv4mpegpipe,wav,mp3,aac,flac,ac3,amr,aiff,caf"
)
_IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_OPTIONS = {"format_whitelist": _FORMATS, "max_pixels": str(MOST_PIXELS)}
"""Looking for streams may mean to decode: that is bounded as well."""


class Orientation(NamedTuple):
    """How a stored frame is turned to stand upright: rows and columns change places, then it is mirrored."""

    swapped: bool = False
    mirrored: bool = False
    upside_down: bool = False


class Picture(NamedTuple):
    """A decoded frame as the file stores it, opaque; the width of its pixels in heights; how it is turned."""

    frame: av.VideoFrame
    sample_aspect: Fraction = Fraction(1)
    orientation: Orientation = Orientation()


def pictures(
    source: str | BinaryIO,
    name: str,
    *,
    stride: int = 1,
    limit: int | None = None,
    start: float | None = None,
    stop: float | None = None,
) -> Iterator[Picture]:
    """Yield frames 0, stride, 2·stride … of a file, one at a time; what lies behind the last is not checked.

    Args:
        source: A path, an fsspec URL, or an open binary file that can seek. Its bytes decide what it is.
        name: What errors call it.
        stride: Distance of the frames that are kept.
        limit: Stop after this many kept frames.
        start: Seconds; frame 0 is the first one that is displayed then or later. None is the beginning.
        stop: Seconds; frames displayed then or later are no part. None is the end.

    Raises:
        UserError: when the file is refused by a rule of this module; `PassingError` where it is missing, or
            may be readable another time.
    """
    if stride < 1 or (limit is not None and limit < 1):
        raise ValueError(f"stride and limit must be at least 1, not {stride} and {limit}")
    try:
        if isinstance(source, str) and is_url(source):
            with to_read(source) as file:
                yield from _pictures(file, name, stride, limit, (start or 0.0, stop))
        else:
            yield from _pictures(source, name, stride, limit, (start or 0.0, stop))
    except FileNotFoundError:
        raise PassingError(f"{name}: no such file") from None
    except (OSError, MemoryError) as problem:
        raise PassingError(f"{name}: cannot be read: {problem}") from problem
    except av.error.FFmpegError as problem:
        raise UserError(f"{name}: unreadable video: {problem.strerror}") from problem


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse a size that nobody films in, before memory is asked for.

    Raises:
        UserError: when a frame has more than `MOST_PIXELS`.
    """
    if width * height > MOST_PIXELS:
        raise UserError(f"{name}: too many pixels: {width} × {height}, at most {MOST_PIXELS} are decoded")


def check_frames(kept: float, name: str) -> None:
    """Refuse a file of which more than `MOST_FRAMES` would be kept.

    Raises:
        UserError: when it is one.
    """
    if kept > MOST_FRAMES:
        raise UserError(
            f"{name}: too many frames: {kept:.0f} would be kept, at most {MOST_FRAMES} can be; keep fewer"
        )


def opaque(frame: av.VideoFrame) -> av.VideoFrame:
    """Return the frame as it looks on white; one without transparency is returned as it is."""
    palette = frame.format.has_palette
    if not palette and not any(component.is_alpha for component in frame.format.components):
        return frame
    rgba = frame.reformat(format="rgba", interpolation=EXACT).to_ndarray().astype(np.uint16)
    alpha = rgba[..., 3:]
    blended = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(blended, np.uint8), format="rgb24")


def _orientation(frame: av.VideoFrame) -> Orientation:
    """What the display matrix says, to the nearest quarter turn; x' = a·x + c·y and y' = b·x + d·y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
    if abs(int(b)) + abs(int(c)) > abs(int(a)) + abs(int(d)):
        return Orientation(True, bool(c < 0), bool(b < 0))
    return Orientation(False, bool(a < 0), bool(d < 0))


def _pictures(
    source: str | BinaryIO, name: str, stride: int, limit: int | None, span: tuple[float, float | None]
) -> Iterator[Picture]:
    head = _head(source)
    if not head:
        raise UserError(f"{name}: unreadable video: the file is empty")
    if not _is_image(head):
        yield from _video(source, name, stride, limit, span)
        return
    # Pillow is needed for images only, and start-up counts in worker processes.
    from onaspr_core.media.images import image_pictures

    yield from image_pictures(source, head, name, stride, limit, span)


def _head(source: str | BinaryIO) -> bytes:
    if isinstance(source, str):
        with open(source, "rb") as file:
            return file.read(32)
    head = source.read(32)
    source.seek(0)
    return head


def _is_image(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    avif = head[4:12] in (b"ftypavif", b"ftypavis")
    return webp or avif or head.startswith(_IMAGE_HEADS)


def _video(
    source: str | BinaryIO, name: str, stride: int, limit: int | None, span: tuple[float, float | None]
) -> Iterator[Picture]:
    start, stop = span
    with av.open(source, "r", options=_OPTIONS, metadata_errors="replace") as container:
        stream = _video_stream(container, name)
        check_pixels(stream.codec_context.width, stream.codec_context.height, name)
        if limit is None:
            check_frames(_promised(stream, span) / stride, name)
        stream.codec_context.options = {"max_pixels": _OPTIONS["max_pixels"]}
        reader = FrameReader(container, stream, stride, start)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        kept = 0
        for number, time, frame in reader:
            if stop is not None and time >= stop - TOLERANCE:
                break
            if number % stride == 0:
                if frame.is_corrupt:
                    raise UserError(f"{name}: damaged: the frame at {time:.2f} s cannot be decoded whole")
                check_frames(kept + 1, name)
                yield Picture(opaque(frame), aspect, _orientation(frame))
                kept += 1
                if kept == limit:
                    return
        else:
            reader.check_whole(name)
    if not kept and start:
        raise UserError(f"{name}: the span lies outside the video: nothing is shown from {start:g} s on")
    if not kept:
        raise UserError(f"{name}: no frame could be decoded")


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if stream.codec_context is None:
                raise UserError(f"{name}: unreadable video: its codec is not known")
            return stream
    held = ", ".join(sorted({"a cover" if s.type == "video" else s.type for s in container.streams}))
    raise UserError(f"{name}: no video stream in the file: it holds {held or 'nothing'}")


def _promised(stream: VideoStream, span: tuple[float, float | None]) -> float:
    """The frames of a span by what the header says, 0 where it says nothing."""
    start, stop = span
    rate = float(stream.average_rate or 0)
    left = stream.frames - start * rate
    return max(0.0, left if stop is None else min(left, (stop - start) * rate))
