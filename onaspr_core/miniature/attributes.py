"""What a clip of the miniature world can be: its attributes, and which combinations are held out.

A combination is (colour, shape, motion, background); 192 exist. Forty of them are held out: no model is
trained on them, no pool clip shows them, and every benchmark prompt asks for one of them.
How a combination is worded is in `grammar`, how it looks in `rendering`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

COLOURS = ("red", "yellow", "white", "purple")
SHAPES = ("ball", "box", "triangle")
MOTIONS = ("left", "right", "up", "down")
BACKGROUNDS = ("sea", "meadow", "sand", "night")
SIZES = ("small", "large")
SPEEDS = ("slow", "fast")

GROUPS: dict[str, tuple[str, ...]] = {
    "colour": COLOURS,
    "shape": SHAPES,
    "motion": MOTIONS,
    "background": BACKGROUNDS,
}
"""The attributes that a prompt fixes and a classifier judges, each with its values, in order."""

_SPARED = frozenset([(0, 2, 2), (0, 2, 3), (1, 0, 0), (1, 0, 1), (2, 0, 1), (2, 1, 0), (3, 1, 2), (3, 2, 3)])
"""(colour, shape, motion) of the eight cells of the design that stay in training: two of each colour and
of each motion, two of each background, and 3, 2 and 3 of the shapes."""


@dataclass(frozen=True)
class Scene:
    """What one clip shows, by name; the randomness of a render (positions, textures) is not in it."""

    colour: str
    shape: str
    motion: str
    background: str
    size: str = "large"
    speed: str = "fast"

    @property
    def combination(self) -> tuple[str, str, str, str]:
        """The four attributes that decide whether a scene is held out."""
        return (self.colour, self.shape, self.motion, self.background)


def combinations() -> list[tuple[str, str, str, str]]:
    """All 192 combinations, in a fixed order."""
    return list(product(COLOURS, SHAPES, MOTIONS, BACKGROUNDS))


def held_out_combinations() -> list[tuple[str, str, str, str]]:
    """The 40 held-out combinations, in a fixed order.

    They come from the orthogonal array background = colour + shape + motion (mod 4), less eight cells, so
    that every colour, motion and background is held out ten times, every shape 13 or 14 times, and every
    pair of values is still met in training.
    """
    return list(_held_out())


def training_combinations() -> list[tuple[str, str, str, str]]:
    """The 152 combinations that training and the pool are made of, in a fixed order."""
    held_out = set(_held_out())
    return [combination for combination in combinations() if combination not in held_out]


def _held_out() -> Iterator[tuple[str, str, str, str]]:
    for colour, shape, motion in product(range(4), range(3), range(4)):
        if (colour, shape, motion) not in _SPARED:
            background = (colour + shape + motion) % 4
            yield COLOURS[colour], SHAPES[shape], MOTIONS[motion], BACKGROUNDS[background]


def random_scenes(count: int, rng: np.random.Generator, held_out: bool = False) -> list[Scene]:
    """Draw `count` scenes: combinations in shuffled rounds, so that all are about equally frequent."""
    source = held_out_combinations() if held_out else training_combinations()
    order = np.concatenate([rng.permutation(len(source)) for _ in range(-(-count // len(source)))])
    sizes, speeds = rng.integers(2, size=count), rng.integers(2, size=count)
    scenes = []
    for row, size, speed in zip(order, sizes, speeds, strict=False):
        colour, shape, motion, background = source[row]
        scenes.append(Scene(colour, shape, motion, background, SIZES[size], SPEEDS[speed]))
    return scenes


def label_indices(scene: Scene) -> tuple[int, int, int, int]:
    """The scene's value in each of `GROUPS`, as indices (colour, shape, motion, background)."""
    return (
        COLOURS.index(scene.colour),
        SHAPES.index(scene.shape),
        MOTIONS.index(scene.motion),
        BACKGROUNDS.index(scene.background),
    )
