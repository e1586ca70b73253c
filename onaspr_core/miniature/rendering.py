"""Pixels of the miniature world: scenes to frames, in numpy, many clips at a time.

An object of one colour crosses a still, lightly textured background. `clip_frames` gives what a model
trains on, with colour at half resolution as an MP4 file stores it; `source_frames` gives the longer and
wider video that is written to disk. Files are `world`'s concern, attributes are `attributes`'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onaspr_core.media.video import Frames
from onaspr_core.miniature.attributes import BACKGROUNDS, Scene

CLIP_SIZE = 32
CLIP_FRAMES = 8
SOURCE_WIDTH = 48
SOURCE_FRAMES = 64
FPS = 24
FRAME_STRIDE = 8
CLIP_TIMES = np.arange(CLIP_FRAMES) * FRAME_STRIDE

Floats = npt.NDArray[np.floating[Any]]

OBJECT_RGB = {
    "red": (225, 35, 30),
    "yellow": (250, 225, 30),
    "white": (250, 250, 250),
    "purple": (155, 40, 200),
}
GROUND_RGB = {"sea": (30, 100, 190), "meadow": (60, 155, 60), "sand": (200, 165, 115), "night": (14, 14, 34)}
_RADII = {"small": 5.0, "large": 7.0}
_TRAVELS = {"slow": 13.0, "fast": 18.0}
_DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
START = -0.25
"""Where a way starts, as a fraction of its length from the centre: it passes the centre and goes to the side.

Were ways centred, their middle would say nothing of their direction, and a model would have to learn what the
word, the frame number and the place mean only jointly. That takes a hundred thousand clips; this takes few.
"""
_JITTER_ALONG, _JITTER_ACROSS, _RADIUS_JITTER, _TRAVEL_JITTER, _TONE = 1.5, 3.0, 0.4, 1.0, 8.0


@dataclass(frozen=True)
class Draws:
    """The randomness of renders of n scenes, each an array whose first axis is n."""

    offset: Floats
    radius: Floats
    travel: Floats
    tint: Floats
    texture: Floats


def draw(scenes: Sequence[Scene], rng: np.random.Generator) -> Draws:
    """Draw positions, sizes, tints and textures for `scenes`."""
    count = len(scenes)
    direction = np.array([_DIRECTIONS[s.motion] for s in scenes], np.float32)
    along = rng.uniform(-_JITTER_ALONG, _JITTER_ALONG, (count, 1))
    across = rng.uniform(-_JITTER_ACROSS, _JITTER_ACROSS, (count, 1))
    offset = direction * along + direction[:, ::-1] * across
    radius = [_RADII[s.size] for s in scenes] + rng.uniform(-_RADIUS_JITTER, _RADIUS_JITTER, count)
    travel = [_TRAVELS[s.speed] for s in scenes] + rng.uniform(-_TRAVEL_JITTER, _TRAVEL_JITTER, count)
    tint = rng.uniform(-_TONE, _TONE, (count, 2, 3))
    texture = rng.uniform(0.0, 1.0, (count, 24))
    return Draws(*(np.asarray(a, np.float32) for a in (offset, radius, travel, tint, texture)))


def render(scenes: Sequence[Scene], draws: Draws, times: npt.NDArray[np.int64], width: int) -> Floats:
    """Render `scenes` at the given source frame numbers.

    Returns float32 (n, len(times), CLIP_SIZE, width, 3) in [0, 255]. A way begins at the
    centre of the frame plus START times its length, give or take the draws, and takes a clip's 57 frames.
    """
    ground = np.array([GROUND_RGB[s.background] for s in scenes], np.float32) + draws.tint[:, 0]
    colour = np.array([OBJECT_RGB[s.colour] for s in scenes], np.float32) + draws.tint[:, 1]
    picture = ground[:, None, None] + _textures(scenes, draws.texture, width)[..., None]
    mask = _coverage(scenes, draws, times, width)[..., None]
    frames = picture[:, None] + mask * (colour[:, None, None, None] - picture[:, None])
    return np.clip(frames, 0.0, 255.0, out=frames)


def clip_frames(
    scenes: Sequence[Scene],
    rng: np.random.Generator,
    strides: Sequence[int] = (FRAME_STRIDE,),
    chunk: int = 256,
) -> Frames:
    """Render training clips: uint8 (n, CLIP_FRAMES, CLIP_SIZE, CLIP_SIZE, 3), as if read from yuv420p.

    Clips keep every FRAME_STRIDE-th frame of a source; with several `strides`, groups of `chunk` clips take
    turns, which stands for readers that sample a source more or less densely.
    """
    clips = np.empty((len(scenes), CLIP_FRAMES, CLIP_SIZE, CLIP_SIZE, 3), np.uint8)
    for turn, start in enumerate(range(0, len(scenes), chunk)):
        part = scenes[start : start + chunk]
        times = np.arange(CLIP_FRAMES) * strides[turn % len(strides)]
        clips[start : start + chunk] = half_chroma(render(part, draw(part, rng), times, CLIP_SIZE))
    return clips


def source_frames(scene: Scene, rng: np.random.Generator) -> Frames:
    """Render one source video: uint8 (SOURCE_FRAMES, CLIP_SIZE, SOURCE_WIDTH, 3), before compression.

    Its centre crop, every FRAME_STRIDE-th frame, is a clip as `clip_frames` makes them.
    """
    times = np.arange(SOURCE_FRAMES)
    frames = render([scene], draw([scene], rng), times, SOURCE_WIDTH)[0]
    rounded: Frames = np.rint(frames).astype(np.uint8)
    return rounded


def half_chroma(frames: Floats) -> Frames:
    """Round-trip RGB frames (..., h, w, 3) in [0, 255] through YCbCr 4:2:0 (BT.601); h and w are even."""
    luma = frames @ np.array([0.299, 0.587, 0.114], np.float32)
    back = np.repeat(luma[..., None], 3, axis=-1)
    for channel, factors in ((0, {0: 1.402, 1: -0.714136}), (2, {2: 1.772, 1: -0.344136})):
        difference = (frames[..., channel] - luma) / np.float32(1.402 if channel == 0 else 1.772)
        h, w = difference.shape[-2:]
        coarse = difference.reshape(*difference.shape[:-2], h // 2, 2, w // 2, 2).mean((-3, -1))
        smooth = _double(_double(coarse, -1), -2)
        for target, factor in factors.items():
            back[..., target] += np.float32(factor) * smooth
    return np.rint(np.clip(back, 0.0, 255.0)).astype(np.uint8)


def _double(values: Floats, axis: int) -> Floats:
    """Upsample one axis by two, linearly, samples at the centres of their cells."""
    values = np.moveaxis(values, axis, 0)
    before = np.concatenate([values[:1], values[:-1]])
    after = np.concatenate([values[1:], values[-1:]])
    pair = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], axis=1)
    return np.moveaxis(pair.reshape(-1, *values.shape[1:]), 0, axis)


def _coverage(scenes: Sequence[Scene], draws: Draws, times: npt.NDArray[np.int64], width: int) -> Floats:
    """How much of each pixel the object covers: (n, times, h, w) in [0, 1]."""
    direction = np.array([_DIRECTIONS[s.motion] for s in scenes], np.float32)
    progress = (times / CLIP_TIMES[-1] + START).astype(np.float32)
    centre = np.array([width / 2, CLIP_SIZE / 2], np.float32) + draws.offset
    way = centre[:, None] + (direction * draws.travel[:, None])[:, None] * progress[None, :, None]
    x = np.arange(width, dtype=np.float32) + 0.5
    y = np.arange(CLIP_SIZE, dtype=np.float32) + 0.5
    dx = x[None, None, None, :] - way[..., 0, None, None]
    dy = y[None, None, :, None] - way[..., 1, None, None]
    mask = np.empty((len(scenes), len(times), CLIP_SIZE, width), np.float32)
    kinds = np.array([s.shape for s in scenes])
    for kind, distance in (("ball", _disc), ("box", _box), ("triangle", _triangle)):
        rows = np.flatnonzero(kinds == kind)
        radius = draws.radius[rows, None, None, None]
        mask[rows] = np.clip(0.5 - distance(dx[rows], dy[rows], radius), 0.0, 1.0)
    return mask


def _disc(dx: Floats, dy: Floats, radius: Floats) -> Floats:
    distance: Floats = np.sqrt(dx * dx + dy * dy) - radius
    return distance


def _box(dx: Floats, dy: Floats, radius: Floats) -> Floats:
    distance: Floats = np.maximum(np.abs(dx), np.abs(dy)) - np.float32(0.88) * radius
    return distance


def _triangle(dx: Floats, dy: Floats, radius: Floats) -> Floats:
    side = np.float32(0.894) * np.abs(dx) - np.float32(0.447) * dy
    distance: Floats = np.maximum(side - np.float32(0.5) * radius, dy - np.float32(0.9) * radius)
    return distance


def _textures(scenes: Sequence[Scene], numbers: Floats, width: int) -> Floats:
    """Light and shade of each background: (n, h, w), added to every channel."""
    y, x = np.mgrid[0:CLIP_SIZE, 0:width].astype(np.float32)
    x -= width / 2
    out = np.zeros((len(scenes), CLIP_SIZE, width), np.float32)
    kinds = np.array([BACKGROUNDS.index(s.background) for s in scenes])
    turn = np.float32(2 * np.pi)

    def wave(rows: npt.NDArray[np.intp], at: int, fx: float, fy: float) -> Floats:
        phase = numbers[rows, at, None, None] * turn
        height: Floats = np.sin(turn * (np.float32(fx) * x + np.float32(fy) * y) + phase)
        return height

    sea, meadow, sand, night = (np.flatnonzero(kinds == kind) for kind in range(4))
    out[sea] = 14 * wave(sea, 0, 0.03, 0.16)
    out[meadow] = 8 * wave(meadow, 0, 0.11, 0.07) + 8 * wave(meadow, 1, -0.06, 0.12)
    out[sand] = 8 * wave(sand, 0, 0.10, 0.10)
    stars = numbers[night].reshape(len(night), 8, 3)
    for star in range(8):
        sx = (stars[:, star, 0, None, None] - 0.5) * SOURCE_WIDTH
        sy = stars[:, star, 1, None, None] * CLIP_SIZE
        glow = 90 + 120 * stars[:, star, 2, None, None]
        out[night] += glow * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 0.8)
    return out
