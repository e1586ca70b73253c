"""An eye of the tests' own: what a clip shows, from pixels and everyday colours alone."""

from typing import NamedTuple

import numpy as np

from onaspr_core.media.video import Frames

OBJECTS = {"red": (225, 30, 30), "yellow": (250, 220, 30), "white": (250, 250, 250), "purple": (150, 40, 200)}
GROUNDS = {"sea": (30, 100, 190), "meadow": (60, 155, 60), "sand": (200, 165, 115), "night": (15, 15, 35)}


class Seen(NamedTuple):
    """What was seen; `travel` and `area` in pixels."""

    colour: str
    motion: str
    background: str
    travel: float
    area: float


def look(frames: Frames) -> Seen:
    """Look at frames (F, H, W, 3): nearest everyday colours, and the way of the object's centroid."""
    pixels = frames.astype(float)
    middle = np.median(pixels.reshape(-1, 3), axis=0)
    background = min(GROUNDS, key=lambda name: float(((middle - GROUNDS[name]) ** 2).sum()))
    known = np.array([*OBJECTS.values(), GROUNDS[background]], float)
    nearest = ((pixels[..., None, :] - known) ** 2).sum(-1).argmin(-1)
    colour = int(np.bincount(nearest.ravel(), minlength=5)[:4].argmax())
    centroids = np.array([np.argwhere(frame == colour).mean(0) for frame in nearest])
    down, right = centroids[-1] - centroids[0]
    sideways, upright = ("right" if right > 0 else "left"), ("down" if down > 0 else "up")
    motion = sideways if abs(right) > abs(down) else upright
    travel = max(abs(float(right)), abs(float(down)))
    middle_area = float((nearest[3:5] == colour).sum() / 2)
    return Seen(list(OBJECTS)[colour], motion, background, travel, middle_area)
