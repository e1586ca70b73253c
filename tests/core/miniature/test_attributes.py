"""The held-out design, and scenes drawn from it."""

from collections import Counter
from itertools import combinations as pairs

import numpy as np

from onaspr_core.miniature.attributes import (
    GROUPS,
    combinations,
    held_out_combinations,
    label_indices,
    random_scenes,
    training_combinations,
)


def test_held_out_and_training_combinations_share_nothing_and_are_everything() -> None:
    held_out, training = set(held_out_combinations()), set(training_combinations())
    assert len(held_out) == 40
    assert not held_out & training
    assert held_out | training == set(combinations())


def test_every_value_is_held_out_about_equally_often() -> None:
    for column, values in enumerate(GROUPS.values()):
        counts = Counter(combination[column] for combination in held_out_combinations())
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_pair_of_values_is_met_in_training() -> None:
    groups = list(GROUPS.values())
    for a, b in pairs(range(4), 2):
        met = {(combination[a], combination[b]) for combination in training_combinations()}
        assert len(met) == len(groups[a]) * len(groups[b])


def test_scenes_are_drawn_evenly_and_only_from_the_side_asked_for() -> None:
    scenes = random_scenes(200, np.random.default_rng(0), held_out=True)
    assert set(Counter(scene.combination for scene in scenes).values()) == {5}
    assert {scene.combination for scene in scenes} == set(held_out_combinations())
    drawn = random_scenes(500, np.random.default_rng(0))
    assert not {scene.combination for scene in drawn} & set(held_out_combinations())


def test_label_indices_point_at_the_scenes_own_values() -> None:
    for scene in random_scenes(50, np.random.default_rng(1)):
        named = [values[i] for values, i in zip(GROUPS.values(), label_indices(scene), strict=True)]
        assert tuple(named) == scene.combination
