"""Tiny networks in the form that transformers saves them, for the tests of this folder."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from onaspr_core import generation
from onaspr_core.media.images import encode_png
from onaspr_core.media.video import Frames, encode_mp4
from onaspr_core.prompts import Prompt, ingest_prompts, load_prompts
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.tiny_models import save_tiny_judges


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with image-classifier, image-text and video-classifier, randomly initialised from a seed."""
    return save_tiny_judges(tmp_path_factory.mktemp("models"))


SETTINGS = """
[pools.p]
format = "webvid"
path = "real.csv"
videos = "real"
[backbones.b]
family = "{family}"
path = "weights"
frames = {frames}
height = 16
width = 16
[experiments.e]
pool = "p"
backbone = "b"
prompts = "prompts.jsonl"
eta = 0.5
gamma = 0.2
[experiments.e.evaluation]
inception_splits = {splits}
bootstrap_samples = 50
batch_size = 4
[experiments.e.evaluation.features]
label = "{label}"
image_classifier = "{models}/image-classifier"
image_text = "{models}/image-text"
"""
VIDEO_CLASSIFIER = 'video_classifier = "{models}/video-classifier"\n'
BENCHMARK = """
[experiments.e.evaluation.benchmark]
path = "real.csv"
videos = "real"
"""


@dataclass
class Bench:
    """A folder with settings, five prompts, six real videos, and generated videos in the store."""

    folder: Path
    models: Path
    benchmark: bool = True
    label: str = "tiny"
    frames: int = 4
    splits: int = 2
    more_networks: str = ""
    metrics: str = ""
    keys: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        colours, motions = ["red", "blue"], ["left", "right", "up"]
        rows = [
            {
                "id": f"p{i}",
                "prompt": f"a {colours[i % 2]} ball {i}",
                "colour": colours[i % 2],
                "motion": motions[i % 3],
            }
            for i in range(5)
        ]
        (self.folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (self.folder / "real").mkdir()
        lines = ["videoid,contentUrl,duration,page_dir,name"]
        for i in range(6):
            lines.append(f"r{i},https://example.invalid/{i}.mp4,1,d{i % 2},real video {i}")
            path = self.folder / "real" / f"d{i % 2}" / f"r{i}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_mp4(noise_video(100 + i, frames=12, width=24), 8))
        (self.folder / "real.csv").write_text("\n".join(lines) + "\n")
        for v, variant in enumerate(VARIANTS):
            for i, row in enumerate(rows):
                self.put(variant, row["id"], noise_video(10 * v + i, self.frames))
        ingest_prompts(self.workspace(), self.experiment())

    def put(self, variant: str, prompt: str, frames: Frames) -> None:
        """Make this the video of a variant and prompt."""
        suffix, data = (".mp4", encode_mp4(frames, 8)) if len(frames) > 1 else (".png", encode_png(frames[0]))
        key = hashlib.sha256(data).hexdigest()[:40]
        self.workspace().store.write(VIDEO, key, suffix, data, {"variant": variant, "prompt": prompt})
        self.keys[variant, prompt] = key

    def workspace(self) -> Workspace:
        """Open the folder anew, as another run would."""
        family = "stable-diffusion-1.5" if self.frames == 1 else "modelscope"
        turned = {"label": self.label, "frames": self.frames, "splits": self.splits, "family": family}
        text = SETTINGS if self.frames == 1 else SETTINGS + VIDEO_CLASSIFIER + self.more_networks
        text = text.format(models=self.models, **turned) + (BENCHMARK if self.benchmark else "")
        text = text.replace("batch_size = 4", f"batch_size = 4\n{self.metrics}")
        (self.folder / "settings.toml").write_text(text)
        return Workspace(load_settings(self.folder / "settings.toml"))

    def experiment(self) -> Experiment:
        """The one experiment of the settings."""
        return self.workspace().settings.experiment("e")


@dataclass(frozen=True)
class Made:
    """What scoring needs to know of a video to be scored."""

    prompt: Prompt
    key: str


@pytest.fixture
def bench(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose video items are those that it put there."""
    return put_there(Bench(tmp_path, models), monkeypatch)


@pytest.fixture
def images(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same with images; the real side is of videos."""
    return put_there(Bench(tmp_path, models, frames=1), monkeypatch)


def put_there(made: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Let generation know the videos of a bench."""

    def items(workspace: Workspace, e: Experiment, variant: str) -> list[Made]:
        return [Made(prompt, made.keys[variant, prompt.id]) for prompt in load_prompts(workspace, e)]

    monkeypatch.setattr(generation, "video_items", items)
    return made


def noise(frames: int, height: int = 20, width: int = 30, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)


def noise_video(seed: int, frames: int = 4, width: int = 16) -> Frames:
    """A still of blocks with a drifting brightness: small, and different for every seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 200, (1, 4, width // 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    drift = (np.arange(frames) * rng.integers(0, 40 // frames + 1))[:, None, None, None]
    return (blocks + drift).astype(np.uint8)


@pytest.fixture
def put_new(bench: Bench) -> Callable[[str, str], None]:
    """Replace a video of the bench by one that no other video equals."""
    return lambda variant, prompt: bench.put(variant, prompt, noise_video(999))
