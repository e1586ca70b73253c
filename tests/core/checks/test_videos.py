"""A video for every prompt of every variant, whole and of the backbone's shape."""

import re

import numpy as np
import pytest

from onaspr_core.checks.videos import every_prompt_has_a_video
from onaspr_core.generation import VideoItem, generate_videos, video_items
from onaspr_core.media.images import encode_png
from onaspr_core.media.video import encode_mp4
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.variants import VARIANTS
from tests.core.checks.conftest import Project


def items(project: Project, variant: str = "ona") -> list[VideoItem]:
    return video_items(project.open(), project.e, variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_videos_as_the_stage_leaves_them_are_in_order(project: Project, variant: str) -> None:
    workspace = project.open()
    found = every_prompt_has_a_video(workspace, project.e, variant)
    assert found.passed
    assert found.summary == "all 3 prompts have a video of 3 frames of 16 × 16"
    assert workspace.models.loaded == ()


def test_what_is_missing_damaged_or_of_another_shape_is_named(project: Project) -> None:
    first, second, third = items(project)
    project.remove(VIDEO, first.key)
    project.damage(VIDEO, second.key)
    other = encode_mp4(np.zeros((4, 16, 16, 3), np.uint8), 8.0)
    project.open().store.write(VIDEO, third.key, ".mp4", other, {})
    found = every_prompt_has_a_video(project.open(), project.e, "ona")
    assert not found.passed
    assert [name for name, _ in found.rows] == ["00001", "00002", "00003"]
    assert "ona_videos says under `failures` why" in found.rows[0][1]
    assert "not finite, use dtype" in found.rows[0][1]
    assert "is damaged" in found.rows[1][1] and "materialize ona_videos" in found.rows[1][1]
    assert found.rows[2][1] == "4 frames of 16 × 16"
    assert found.summary.startswith("0 of 3 prompts have a video")
    assert every_prompt_has_a_video(project.open(), project.e, "spr").passed


def test_a_video_whose_inverted_noise_is_gone_says_so(project: Project) -> None:
    item = items(project)[0]
    project.remove(VIDEO, item.key)
    project.remove(INVERTED_LATENT, item.inverted_keys[0])
    found = every_prompt_has_a_video(project.open(), project.e, "ona")
    assert "materialize inverted_latents first" in found.rows[0][1]


def test_images_are_called_images(project: Project) -> None:
    file = project.folder / "settings.toml"
    told = file.read_text().replace("frames = 3", "frames = 1")
    file.write_text(re.sub("(?m)^video_classifier = .*\n", "", told))
    generate_videos(project.open(), project.e, "baseline")
    found = every_prompt_has_a_video(project.open(), project.e, "baseline")
    assert found.passed
    assert found.summary == "all 3 prompts have an image of 16 × 16"
    first, second, _ = items(project, "baseline")
    project.remove(VIDEO, first.key)
    other = encode_png(np.zeros((8, 16, 3), np.uint8))
    project.open().store.write(VIDEO, second.key, ".png", other, {})
    found = every_prompt_has_a_video(project.open(), project.e, "baseline")
    assert found.rows[0][1].startswith("no image: baseline_videos says")
    assert found.rows[1][1] == "an image of 8 × 16"
