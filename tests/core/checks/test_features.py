"""Features of the real side: as many as there are usable videos, all of them finite."""

import numpy as np
import pytest
from safetensors.numpy import save

from onaspr_core.checks.features import every_real_video_has_features
from onaspr_core.errors import UserError
from onaspr_core.evaluation.encoding import FeatureItem
from onaspr_core.evaluation.features import feature_sets, real_features
from onaspr_core.stored_kinds import FEATURES
from tests.core.checks.conftest import Project


def items(project: Project) -> list[FeatureItem]:
    workspace = project.open()
    videos = real_features(workspace, project.e, feature_sets(workspace, project.e))
    return [item for one in videos for item in one.values()]


def test_every_usable_real_video_has_features_under_three_networks(project: Project) -> None:
    workspace = project.open()
    found = every_real_video_has_features(workspace, project.e)
    assert found.passed
    assert (found.facts["real_videos"], found.facts["looked_at"]) == (3, 9)
    assert workspace.models.loaded == ()


def test_what_is_missing_damaged_or_not_finite_is_named(project: Project) -> None:
    first, second, third, *_ = items(project)
    project.remove(FEATURES, first.key)
    project.damage(FEATURES, second.key)
    store = project.open().store
    stored = store.read_tensors(FEATURES, third.key)
    arrays = {name: np.full_like(array, np.nan) for name, array in stored.items()}
    store.write(FEATURES, third.key, ".safetensors", save(arrays), {})
    found = every_real_video_has_features(project.open(), project.e)
    assert not found.passed
    assert [name for name, _ in found.rows] == [
        "r0, image classifier",
        "r0, image-text model",
        "r0, video classifier",
    ]
    for (_, trouble), word in zip(found.rows, ("not there", "is damaged", "not finite"), strict=True):
        assert word in trouble
    assert "6 of 9 features" in found.summary


def test_without_a_benchmark_there_is_nothing_to_look_at(project: Project) -> None:
    evaluation = project.e.evaluation.model_copy(update={"benchmark": None})
    found = every_real_video_has_features(
        project.open(), project.e.model_copy(update={"evaluation": evaluation})
    )
    assert found.passed
    assert "none set" in found.summary


def test_a_benchmark_without_a_usable_video_is_told(project: Project) -> None:
    with project.open().catalog.write() as connection:
        connection.execute("delete from benchmark_videos")
    with pytest.raises(UserError, match="materialize benchmark_videos"):
        every_real_video_has_features(project.open(), project.e)
