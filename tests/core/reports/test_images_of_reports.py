"""Gallery and figures of images: pictures on the page, no controls for what does not play, a grid."""

import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onaspr_core import generation
from onaspr_core.drawing import figure_bytes
from onaspr_core.reports.figures import Strip, draw_grid, write_figures
from onaspr_core.reports.gallery import settings_of, write_gallery
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.reports.conftest import key_of
from tests.report_files import clips_of, gallery_of, made_of


def page_of(workspace: Workspace) -> str:
    write_gallery(workspace, workspace.settings.experiment("e"))
    return (Path(workspace.reports_path) / "e" / "index.html").read_text(encoding="utf-8")


def test_generated_images_are_png_beside_the_page_and_neighbours_stay_clips(pictured: Workspace) -> None:
    page_of(pictured)
    folder = Path(pictured.reports_path) / "e"
    gallery = gallery_of(folder)
    images = made_of(gallery)
    assert sorted(images) == sorted(
        f"images/{key_of(variant, i)}.png" for variant in VARIANTS for i in (0, 1)
    )
    assert all(Image.open(folder / file).size == (16, 16) for file in images)
    [clip] = set(clips_of(gallery))
    assert (folder / clip).is_file()
    assert not (folder / "videos").exists()


def test_the_page_of_images_has_no_controls_and_fitting_words(pictured: Workspace) -> None:
    page = page_of(pictured)
    for gone in ('id="play"', 'id="speed"', "Skip to the videos", ">Videos<", "video missing", "play videos"):
        assert gone not in page
    for there in ("Skip to the images", ">Images<", ">image missing<", ">images</th>", "first frame of the"):
        assert there in page


def test_the_page_of_videos_has_controls_and_no_words_of_images(reported: Workspace) -> None:
    page = page_of(reported)
    for there in ('id="play"', 'id="speed"', "Skip to the videos", ">Videos<", ">video missing<"):
        assert there in page
    body = page[page.index("<body") : page.rindex("<script>")]
    assert "image" not in body and "<img" not in body


def test_an_image_that_is_missing_is_called_one(pictured: Workspace) -> None:
    key = generation.video_items(pictured, pictured.settings.experiment("e"), "ona")[0].key
    for path in (pictured.settings.base / "data" / "store" / "artifacts").rglob(f"{key}*"):
        path.unlink()
    page_of(pictured)
    gallery = gallery_of(Path(pictured.reports_path) / "e")
    assert gallery["noun"] == "image" and len(made_of(gallery)) == 7
    assert gallery["prompts"][0]["videos"][1]["missing"] == "materialize ona_videos"


@pytest.mark.parametrize(
    ("fixture", "told"), [("pictured", ("image", "16 × 16")), ("reported", ("video", "4 × 16 × 16, 8 fps"))]
)
def test_the_settings_tell_size_and_of_videos_frames_and_rate(
    fixture: str, told: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    workspace: Workspace = request.getfixturevalue(fixture)
    groups = dict(settings_of(workspace, workspace.settings.experiment("e")))
    assert told in groups["Backbone"]


def test_a_grid_has_a_row_per_prompt_and_a_titled_column_per_variant() -> None:
    levels = iter(range(0, 240, 40))
    strips = [
        Strip(text, [(name, np.full((1, 16, 16, 3), next(levels), np.uint8)) for name in ("baseline", "ona")])
        for text in ("a $5 and a $6 ball", "a very long prompt " * 20)
    ]
    figure = draw_grid(strips)
    rows = [figure.axes[i : i + 3] for i in (0, 3)]
    assert [axes.get_title() for axes in figure.axes] == ["", "Baseline", "ONA", "", "", ""]
    assert [row[0].texts[0].get_text().split()[0] for row in rows] == ["a", "a"]
    assert rows[1][0].texts[0].get_text().endswith("…")
    drawn = [[int(np.asarray(axes.images[0].get_array()).max()) for axes in row[1:]] for row in rows]
    assert drawn == [[0, 40], [80, 120]]
    draw = partial(draw_grid, strips)
    for form in ("png", "svg"):
        assert figure_bytes(draw, form) == figure_bytes(draw, form)


def test_the_figure_of_images_shows_every_variant_side_by_side(pictured: Workspace) -> None:
    outcome = write_figures(pictured, pictured.settings.experiment("e"))
    assert outcome.failures == () and outcome.preview is not None
    assert outcome.preview.png is not None
    picture = Image.open(io.BytesIO(outcome.preview.png))
    assert picture.width > 2 * picture.height
