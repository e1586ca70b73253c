"""Pixels do what the scene says, measured without the renderer's own geometry."""

import numpy as np
import pytest

from onaspr_core.media.video import Frames, encode_mp4, read_frames
from onaspr_core.miniature.attributes import GROUPS, Scene, random_scenes
from onaspr_core.miniature.rendering import clip_frames, half_chroma, source_frames
from tests.core.miniature.looking import look


@pytest.mark.parametrize("held_out", [False, True])
def test_colour_motion_and_background_can_be_read_off_the_pixels(held_out: bool) -> None:
    rng = np.random.default_rng(11)
    scenes = random_scenes(80, rng, held_out)
    for scene, frames in zip(scenes, clip_frames(scenes, rng), strict=True):
        seen = look(frames)
        assert (seen.colour, seen.motion, seen.background) == (scene.colour, scene.motion, scene.background)


def test_fast_objects_travel_about_18_pixels_and_slow_ones_13() -> None:
    rng = np.random.default_rng(12)
    for speed, pixels in (("fast", 18), ("slow", 13)):
        scenes = [Scene("red", "ball", "right", "meadow", "small", speed)] * 8
        travels = [look(frames).travel for frames in clip_frames(scenes, rng)]
        assert np.mean(travels) == pytest.approx(pixels, abs=1.5)


def test_sizes_and_shapes_cover_what_their_geometry_says() -> None:
    rng = np.random.default_rng(13)

    def area(shape: str, size: str) -> float:
        scenes = [Scene("yellow", shape, "up", "sea", size, "slow")] * 16
        return float(np.mean([look(frames).area for frames in clip_frames(scenes, rng)]))

    assert area("ball", "small") == pytest.approx(np.pi * 5**2, rel=0.2)
    assert area("ball", "large") == pytest.approx(np.pi * 7**2, rel=0.2)
    assert area("box", "large") == pytest.approx((2 * 0.88 * 7) ** 2, rel=0.2)
    assert area("triangle", "large") < 0.75 * area("ball", "large")


def test_a_source_read_back_as_a_clip_looks_like_a_training_clip() -> None:
    scene = Scene("purple", "box", "left", "sand", "large", "fast")
    source = source_frames(scene, np.random.default_rng(5))
    assert source.shape == (64, 32, 48, 3)
    stored = read_frames_of(encode_mp4(source, 24, crf=8))
    simulated = half_chroma(source.astype(np.float32))
    assert _distance(simulated, stored) < 0.7 * _distance(source, stored)
    clip, trained = stored[::8, :, 8:40], clip_frames([scene], np.random.default_rng(5))[0]
    assert clip.shape == trained.shape
    assert _distance(trained, clip) < 6.0


def test_half_chroma_keeps_greys_and_blurs_only_colour() -> None:
    grey = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)).repeat(3, -1).astype(np.float32)
    assert np.abs(half_chroma(grey) - grey).max() <= 0.51
    red = np.zeros((8, 8, 3), np.float32)
    red[:, 3:, 0] = 200.0
    result = half_chroma(red).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    inside = slice(1, -1)
    assert np.abs((result @ weights - red @ weights)[:, 4:][inside]).max() < 30
    assert np.abs(result - red).max() > 20


def test_clips_depend_on_the_generator_alone() -> None:
    scenes = random_scenes(20, np.random.default_rng(1))
    first, second = (clip_frames(scenes, np.random.default_rng(2)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, clip_frames(scenes, np.random.default_rng(3)))


def test_groups_have_the_sizes_that_the_classifiers_are_built_for() -> None:
    assert [len(values) for values in GROUPS.values()] == [4, 3, 4, 4]


def _distance(a: Frames, b: Frames) -> float:
    return float(np.sqrt(np.mean((a.astype(float) - b) ** 2)))


def read_frames_of(content: bytes) -> Frames:
    import io

    return read_frames(io.BytesIO(content))
