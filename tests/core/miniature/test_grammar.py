"""Captions say what a scene shows, briefly."""

import numpy as np
import pytest

from onaspr_core.miniature.attributes import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, Scene
from onaspr_core.miniature.grammar import DISTRACTORS, MAX_WORDS, caption, training_caption, with_distractors

# Written out by hand, not taken from the grammar: what a reader would look for.
TELLTALES = {
    "red": {"red", "crimson", "scarlet"},
    "yellow": {"yellow", "golden", "lemon"},
    "white": {"white", "snowy", "ivory"},
    "purple": {"purple", "violet", "lilac"},
    "ball": {"ball", "circle", "sphere"},
    "box": {"box", "square", "cube"},
    "triangle": {"triangle", "pyramid", "wedge"},
    "left": {"left", "leftward"},
    "right": {"right", "rightward"},
    "up": {"up", "upward", "rises", "climbs", "ascends", "rising", "climbing", "ascending"},
    "down": {"down", "downward", "falls", "sinks", "descends", "drops"}
    | {"falling", "sinking", "descending", "dropping"},
    "sea": {"sea", "ocean", "water"},
    "meadow": {"meadow", "grass", "field"},
    "sand": {"sand", "desert", "beach"},
    "night": {"night", "stars", "starry"},
}
SIZES = {"small": {"small", "little", "tiny"}, "large": {"large", "big", "huge"}}
SPEEDS = {"slow": {"slowly", "gently", "calmly"}, "fast": {"quickly", "fast", "swiftly"}}


def some_captions(rich: bool) -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(7)
    scenes = [
        Scene(c, s, m, b, size, speed)
        for c in COLOURS
        for s in SHAPES
        for m in MOTIONS
        for b in BACKGROUNDS
        for size, speed in (("small", "fast"), ("large", "slow"))
    ]
    return [(scene, caption(scene, rng, rich)) for scene in scenes]


@pytest.mark.parametrize("rich", [False, True])
def test_captions_name_exactly_their_own_attributes(rich: bool) -> None:
    for scene, text in some_captions(rich):
        words = set(text.split())
        for value in (*COLOURS, *SHAPES, *MOTIONS, *BACKGROUNDS):
            named = bool(words & TELLTALES[value])
            assert named == (value in scene.combination), (text, value)


def test_rich_captions_also_say_size_and_speed() -> None:
    for scene, text in some_captions(rich=True):
        assert set(text.split()) & SIZES[scene.size]
        assert set(text.split()) & SPEEDS[scene.speed]


@pytest.mark.parametrize("rich", [False, True])
def test_captions_have_at_most_twenty_words(rich: bool) -> None:
    assert all(len(text.split()) <= 20 for _, text in some_captions(rich))


def test_distractors_keep_the_caption_in_order_and_the_length_bound() -> None:
    rng = np.random.default_rng(3)
    for _, text in some_captions(rich=True):
        longer = with_distractors(text, rng)
        assert len(longer.split()) <= MAX_WORDS
        remaining = iter(longer.split())
        assert all(word in remaining for word in text.split())


def test_distractors_change_no_attribute_but_size_and_speed() -> None:
    meaningful = set().union(*TELLTALES.values())
    assert not meaningful & set(DISTRACTORS)


def test_captions_depend_on_the_generator_alone() -> None:
    scene = Scene("red", "ball", "left", "sea")
    first = [training_caption(scene, np.random.default_rng(i)) for i in range(20)]
    assert first == [training_caption(scene, np.random.default_rng(i)) for i in range(20)]
    assert len(set(first)) > 10
