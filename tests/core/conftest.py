"""A text-to-video model of a few thousand random weights, as ModelScope lies on disk, tiny videos, a hub."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from onaspr_core.media.video import encode_mp4
from onaspr_core.pool import clips
from onaspr_core.prompts import ingest_prompts
from onaspr_core.settings import BackboneSettings, Experiment, load_settings
from onaspr_core.workspace import Workspace
from tests.loopback import Hub, serving
from tests.small_project import cut_here
from tests.tiny_models import save_tiny_text_to_video
from tests.tiny_unets import save_tiny_stable_diffusion

SETTINGS = """
[pools.pool]
format = "webvid"
path = "pool.csv"
videos = "."

[backbones.tiny]
family = "modelscope"
path = "{model}"
frames = 3
height = 16
width = 16
device = "cpu"

[experiments.tiny]
pool = "pool"
backbone = "tiny"
prompts = "prompts.txt"
seed = 3
eta = 0.5
gamma = 0.5
sampling = {{ steps = 4, guidance_scale = 4.0, batch_size = 2 }}
inversion = {{ batch_size = 2 }}

[experiments.tiny.evaluation.features]
label = "none"
image_classifier = "none"
image_text = "none"
video_classifier = "none"
"""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an epsilon model."""
    return save_tiny_text_to_video(tmp_path_factory.mktemp("tiny-text-to-video"))


@pytest.fixture(scope="session")
def tiny_v_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same model, said to predict v."""
    return save_tiny_text_to_video(tmp_path_factory.mktemp("tiny-v"), "v_prediction")


@pytest.fixture
def tiny_settings(tiny_model: Path) -> BackboneSettings:
    """Settings for the tiny model: three frames of 16 × 16."""
    return BackboneSettings(
        family="modelscope", path=str(tiny_model), frames=3, height=16, width=16, device="cpu"
    )


@pytest.fixture
def tiny_workspace(tiny_model: Path, tmp_path: Path) -> Workspace:
    """A workspace with the experiment "tiny": five prompts in the catalog, and an empty store."""
    return workspace_of(tmp_path, SETTINGS.format(model=tiny_model))


@pytest.fixture
def experiment(tiny_workspace: Workspace) -> Experiment:
    """The experiment of `tiny_workspace`."""
    return tiny_workspace.settings.experiment("tiny")


@pytest.fixture(scope="session")
def tiny_image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of images."""
    return save_tiny_stable_diffusion(tmp_path_factory.mktemp("tiny-images"))


@pytest.fixture
def image_workspace(tiny_image_model: Path, tmp_path: Path) -> Workspace:
    """As `tiny_workspace`, with a backbone that makes images of 16 × 16."""
    return workspace_of(tmp_path, of_images(SETTINGS.format(model="."), tiny_image_model))


def of_images(settings: str, model: Path) -> str:
    """Settings whose backbone makes videos of three frames, turned to one that makes images.

    Images are seen by no video classifier.
    """
    section = re.compile(r"^\[backbones\..*?(?=^\[)", re.MULTILINE | re.DOTALL)
    [before] = section.findall(settings)
    after = before.replace("modelscope", "stable-diffusion-1.5").replace("frames = 3", "frames = 1")
    settings = settings.replace(before, re.sub('path = ".*"', f'path = "{model}"', after))
    return re.sub("^video_classifier = .*\n", "", settings, flags=re.MULTILINE)


def workspace_of(folder: Path, settings: str) -> Workspace:
    """A workspace with five prompts for an experiment "tiny"."""
    (folder / "pool.csv").write_text("videoid,contentUrl,duration,page_dir,name\n")
    (folder / "prompts.txt").write_text("a red cat\ntwo dogs\na blue bird\nold cars\nthe sea\n")
    (folder / "settings.toml").write_text(settings)
    workspace = Workspace(load_settings(folder / "settings.toml"))
    ingest_prompts(workspace, workspace.settings.experiment("tiny"))
    return workspace


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of one grey level per frame, different for each seed."""

    def write(name: str, *, seed: int = 0, frames: int = 7, height: int = 32, width: int = 48) -> Path:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = ((17 * seed + 20 * np.arange(frames)) % 256).astype(np.uint8)
        shape = (frames, height, width, 3)
        path.write_bytes(encode_mp4(np.broadcast_to(levels[:, None, None, None], shape), 8.0))
        return path

    return write


@pytest.fixture
def cut_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "cut_all", cut_here)


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    """A hub without models, and its address."""
    served = Hub()
    with serving(served.answer, served.asked) as address:
        yield served, address
