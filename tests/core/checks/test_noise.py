"""Inverted noise: there, whole, finite, and how far from Gaussian."""

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from onaspr_core.checks.noise import departures, every_clip_is_inverted, noise_is_nearly_gaussian
from onaspr_core.inversion import TENSOR, ClipItem, clip_items
from onaspr_core.settings import CheckSettings
from onaspr_core.stored_kinds import INVERTED_LATENT
from tests.core.checks.conftest import Project

GAUSSIAN = {
    "mean": 0.0,
    "variance": 1.0,
    "kurtosis": 3.0,
    "spatial_autocorrelation": 0.0,
    "temporal_autocorrelation": 0.0,
}


def items(project: Project) -> list[ClipItem]:
    return clip_items(project.open(), project.e)


def rewrite(project: Project, item: ClipItem, noise: Any = None, **diagnostics: float | None) -> None:
    """Store an item again with other values, or with other diagnostics than its own."""
    store = project.open().store
    record = store.record(INVERTED_LATENT, item.key)
    before = store.read_tensors(INVERTED_LATENT, item.key)[TENSOR]
    record = {**record, "diagnostics": {**GAUSSIAN, **diagnostics}}
    data = save({TENSOR: before if noise is None else noise(before)})
    store.write(INVERTED_LATENT, item.key, ".safetensors", data, record)


def test_noise_as_the_stage_leaves_it_is_there_and_finite(project: Project) -> None:
    workspace = project.open()
    found = every_clip_is_inverted(workspace, project.e)
    assert found.passed
    assert found.facts["looked_at"] == 3
    assert workspace.models.loaded == ()


def test_what_is_missing_or_damaged_is_named_with_what_to_do(project: Project) -> None:
    first, second, _ = items(project)
    project.remove(INVERTED_LATENT, first.key)
    project.damage(INVERTED_LATENT, second.key)
    found = every_clip_is_inverted(project.open(), project.e)
    assert not found.passed
    assert [name for name, _ in found.rows] == [first.pair_id, second.pair_id]
    assert "failures" in found.rows[0][1]
    assert f"{second.key} in the store" in found.rows[1][1] and "is damaged" in found.rows[1][1]
    assert "1 of 3 clips" in found.summary
    assert "materialize inverted_latents" in found.summary


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_is_enough(project: Project, value: float) -> None:
    item = items(project)[1]

    def spoil(noise: np.ndarray) -> np.ndarray:
        spoiled = noise.copy()
        spoiled.flat[7] = value
        return spoiled

    rewrite(project, item, spoil)
    found = every_clip_is_inverted(project.open(), project.e)
    ((name, trouble),) = found.rows
    assert name == item.pair_id
    assert "not finite; materialize inverted_latents" in trouble


def test_noise_far_from_gaussian_is_counted_and_the_worst_comes_first(project: Project) -> None:
    first, second, third = items(project)
    rewrite(project, first, variance=2.1)
    rewrite(project, second)
    rewrite(project, third, mean=0.9, variance=2.1)
    found = noise_is_nearly_gaussian(project.open(), project.e)
    assert not found.passed
    assert found.facts["outside"] == 2
    assert found.rows == [(third.pair_id, "mean", "0.9"), (first.pair_id, "variance", "2.1")]
    assert f"the worst of {third.pair_id}" in found.summary
    assert noise_is_nearly_gaussian(project.open(noise_share=0.7), project.e).passed
    assert noise_is_nearly_gaussian(project.open(noise_mean=1.0, noise_variance=2.2), project.e).passed


@pytest.mark.parametrize(
    ("diagnostics", "off"),
    [
        ({"mean": -0.25}, 1.0),
        ({"variance": 2.0}, 1.0),
        ({"variance": 0.5}, 1.0),
        ({"variance": 4.0}, 2.0),
        ({"kurtosis": 1.5}, 1.0),
        ({"kurtosis": 6.0}, 2.0),
        ({"spatial_autocorrelation": -0.5}, 1.0),
        ({"temporal_autocorrelation": 1.0}, 2.0),
        ({"variance": 0.0, "kurtosis": None, "spatial_autocorrelation": None}, np.inf),
        ({"spatial_autocorrelation": None, "temporal_autocorrelation": None}, 0.0),
    ],
)
def test_departures_are_in_units_of_the_limits(diagnostics: dict[str, Any], off: float) -> None:
    found = departures({**GAUSSIAN, **diagnostics}, CheckSettings())
    assert max(departure for _, departure in found.values()) == pytest.approx(off)


@pytest.mark.parametrize(
    ("measured", "outside"),
    [
        # The extremes of the miniature's 46 inverted latents, and three of real videos under its backbone.
        ((-0.097, 0.632, 2.89, -0.144, -0.034), False),
        ((0.048, 0.918, 4.007, 0.174, 0.438), False),
        ((-0.063, 3.538, 2.927, 0.339, 0.030), True),
        ((0.099, 2.819, 3.519, 0.251, 0.848), True),
        ((0.034, 3.763, 3.609, 0.130, 0.394), True),
    ],
)
def test_the_default_limits_tell_clips_of_the_backbones_world_from_others(
    measured: tuple[float, ...], outside: bool
) -> None:
    found = departures(dict(zip(GAUSSIAN, measured, strict=True)), CheckSettings())
    assert (max(departure for _, departure in found.values()) > 1) == outside
