"""Videos of any codec, shape, timing and damage, to test the rules by."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


def texture(frames: int, height: int, width: int, channels: int = 3) -> Frames:
    """Soft shades that differ from frame to frame and from corner to corner."""
    t, y, x = np.mgrid[:frames, :height, :width]
    shades = [
        110 + 60 * np.sin((x + 3 * t) / 9 + k) + 50 * np.cos(y / 7 - k * t / 5) for k in range(channels)
    ]
    return np.stack(shades, axis=-1).clip(0, 255).astype(np.uint8)


def numbered(frames: int, height: int = 32, width: int = 48) -> Frames:
    """Frames of one grey level each, four levels from one to the next: `numbers` reads them back."""
    levels = (4 * np.arange(frames) + 16).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (frames, height, width, 3))


def numbers(frames: Frames) -> list[int]:
    """Which of the `numbered` frames these are."""
    return [round((float(frame.mean()) - 16) / 4) for frame in frames]


def write_av(
    path: Path,
    frames: Frames,
    *,
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    ticks: Sequence[int] | None = None,
    rate: int = 25,
    aspect: Fraction | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    options: Mapping[str, str] | None = None,
    sound_seconds: float = 0.0,
    colour: tuple[int, int] | None = None,
) -> Path:
    """Write RGB or RGBA frames as a video; ffv1 keeps them exactly.

    `ticks` are display times in thousandths of a second. `rotation` is degrees counter-clockwise, mirrored,
    upside down. `colour` is libav's matrix and range.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        if colour is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound: Any = container.add_stream("aac", rate=8000) if sound_seconds else None
        for number, pixels in enumerate(frames):
            form = "rgba" if pixels.shape[-1] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=form)
            if colour is not None:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=colour[0], dst_color_range=colour[1])
            frame.pts = number if ticks is None else ticks[number]
            frame.time_base = Fraction(1, rate) if ticks is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound is not None:
            silence = np.zeros((1, 1024), np.float32)
            for number in range(int(sound_seconds * 8000 / 1024)):
                quiet = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
                quiet.rate, quiet.pts, quiet.time_base = 8000, 1024 * number, Fraction(1, 8000)
                container.mux(sound.encode(quiet))
            container.mux(sound.encode())
    return path


def write_sound(path: Path, cover: bool) -> Path:
    """Write a file without video, with or without a picture on its cover."""
    with av.open(str(path), "w") as container:
        sound: Any = container.add_stream("mp3" if path.suffix == ".mp3" else "aac", rate=44100)
        if cover:
            picture: Any = container.add_stream("png")
            picture.width = picture.height = 16
            picture.pix_fmt = "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
            container.mux(picture.encode())
        for number in range(20):
            quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
            quiet.rate, quiet.pts, quiet.time_base = 44100, 1152 * number, Fraction(1, 44100)
            container.mux(sound.encode(quiet))
        container.mux(sound.encode())
    return path
