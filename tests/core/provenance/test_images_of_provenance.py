"""What an image was made from: asked by its PNG, and told as an image."""

import shutil
from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.generation import generate_videos
from onaspr_core.inversion import invert_clips
from onaspr_core.provenance.__main__ import as_text
from onaspr_core.provenance.answer import provenance_of
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.trial import Trial, generate_trial
from onaspr_core.workspace import Workspace
from tests.core.conftest import of_images
from tests.core.provenance.world import PROMPTS, key_of


@pytest.fixture
def pictures(world: Workspace, tiny_image_model: Path) -> Workspace:
    """The world with a backbone that makes images: those of `baseline` and `ona`, and a report."""
    file = world.settings.base / "settings.toml"
    file.write_text(of_images(file.read_text(), tiny_image_model))
    workspace = Workspace(load_settings(file))
    e = workspace.settings.experiment("tiny")
    assert not invert_clips(workspace, e).failures
    for variant in ("baseline", "ona"):
        assert not generate_videos(workspace, e, variant).failures
    write_gallery(workspace, e)
    return workspace


def test_key_file_copy_address_and_name_lead_to_one_answer(pictures: Workspace) -> None:
    key, base = key_of(pictures, "ona", "p1"), pictures.settings.base
    shown = base / f"data/store/reports/tiny/images/{key}.png"
    copy = shutil.copy(shown, base / "nice one.png")
    elsewhere = f"s3://bucket/artifacts/video/{key[:2]}/{key}-01234567.png"
    ways = [key, key[:10], pictures.store.url(VIDEO, key), shown, copy, elsewhere, "tiny/ona/p1"]
    answers = [provenance_of(pictures, str(way)) for way in ways]
    assert answers[0].video["key"] == key and answers[0].video["file"].endswith(".png")
    assert all(answer == answers[0] for answer in answers)


def test_an_image_is_told_as_one_without_a_frame_rate(pictures: Workspace) -> None:
    answer = provenance_of(pictures, "tiny/ona/p1")
    assert answer.sampling == {"steps": 4, "guidance_scale": 4.0, "frames": 1, "height": 16, "width": 16}
    assert answer.noise["inverted"]["shape"][1] == 1
    titles = [line for line in as_text(answer).splitlines() if line and not line.startswith(" ")]
    assert titles == ["image", "prompt", "noise", "rewriting", "sampling", "software"]


def test_a_damaged_image_is_named_by_its_form(pictures: Workspace) -> None:
    key = key_of(pictures, "ona", "p1")
    Path(pictures.store.url(VIDEO, key)).write_bytes(b"cut off")
    [note] = provenance_of(pictures, key).notes
    assert note.startswith("Its PNG cannot be read: ")


def test_refusals_call_an_image_an_image(pictures: Workspace) -> None:
    with pytest.raises(UserError, match="prompt p1 has several images; say which"):
        provenance_of(pictures, "tiny/p1")
    key = key_of(pictures, "ona", "p1")
    file = pictures.settings.base / f"{key}.png"
    file.write_bytes(pictures.store.read(VIDEO, key) + b"more")
    with pytest.raises(UserError, match=f"its name is that of image {key}, its bytes are not"):
        provenance_of(pictures, str(file))


def test_the_images_of_a_trial_are_png_and_known_by_their_bytes(pictures: Workspace) -> None:
    e = pictures.settings.experiment("tiny")
    tried = generate_trial(pictures, e, "ona", Trial(eta=0.25))
    files = sorted(Path(tried.facts["videos_path"]).glob("0*"))
    assert [file.suffix for file in files] == [".png"] * len(PROMPTS)
    assert {provenance_of(pictures, str(file)).video["made_as"] for file in files} == {
        f"tiny/ona/{prompt}, a trial with eta=0.25" for prompt in PROMPTS
    }
