"""One frame is an image: stored as PNG, pixel by pixel, with a record that has no frame rate."""

import io

import numpy as np
from PIL import Image

from onaspr_core.generation import generate_videos, read_video, video_items
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.workspace import Workspace


def test_images_are_stored_as_png_and_shown_four_in_a_row(image_workspace: Workspace) -> None:
    e = image_workspace.settings.experiment("tiny")
    outcome = generate_videos(image_workspace, e, "baseline")
    assert (outcome.computed, outcome.failures) == (5, ())
    items = video_items(image_workspace, e, "baseline")
    for item in items:
        data, frames = image_workspace.store.read(VIDEO, item.key), read_video(image_workspace, item.key)
        assert frames.shape == (1, 16, 16, 3)
        assert (np.asarray(Image.open(io.BytesIO(data))) == frames[0]).all()
    record = image_workspace.store.record(VIDEO, items[0].key)
    assert (record["suffix"], record["frames"], record["height"], record["width"]) == (".png", 1, 16, 16)
    assert "fps" not in record and "pillow" in record["libraries"]
    assert outcome.preview is not None and outcome.preview.png is not None
    sheet = Image.open(io.BytesIO(outcome.preview.png))
    assert sheet.width > 4 * 256 and sheet.height > 2 * 256


def test_a_frame_rate_moves_no_image(image_workspace: Workspace) -> None:
    def keys(workspace: Workspace) -> list[str]:
        items = video_items(workspace, workspace.settings.experiment("tiny"), "baseline")
        return [item.key for item in items]

    file = image_workspace.settings.base / "settings.toml"
    before = keys(image_workspace)
    file.write_text(file.read_text().replace("frames = 1\n", "frames = 1\nfps = 5\n"))
    assert keys(Workspace(load_settings(file))) == before
