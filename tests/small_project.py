"""A small project: six captioned clips, three prompts, three real videos, models of random weights."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.media.video import encode_mp4
from onaspr_core.pool import clips
from onaspr_core.pool.cut import CutClip, CutJob, cut_clip
from onaspr_core.retrieval.embedder import SentenceEmbedder
from onaspr_core.rewriting import client
from onaspr_core.rewriting.client import Answer
from tests.core.rewriting.bench import BagOfWords
from tests.tiny_models import save_tiny_judges, save_tiny_text_to_video

SETTINGS = """
[store]
root = "store"
[embedding]
model = "stand-in/embedder"
[pools.clips]
format = "folder"
path = "captions.csv"
videos = "videos"
clip = { resolution = 16, frame_stride = 2, max_frames = 3 }
[backbones.tiny]
family = "modelscope"
path = "MODELS/text-to-video"
frames = 3
height = 16
width = 16
device = "cpu"
[experiments.one]
pool = "clips"
backbone = "tiny"
prompts = "prompts.txt"
eta = 0.5
gamma = 0.5
references.k = 2
rewriter.model = "stand-in"
sampling = { steps = 4, guidance_scale = 2.0 }
[experiments.one.evaluation]
inception_splits = 1
bootstrap_samples = 20
benchmark = { path = "benchmark.csv", videos = "real" }
[experiments.one.evaluation.features]
label = "tiny"
image_classifier = "MODELS/image-classifier"
image_text = "MODELS/image-text"
video_classifier = "MODELS/video-classifier"
"""

CAPTIONS = {
    "cat": "a red cat sleeps on a chair",
    "dog": "a pair of dogs run over sand",
    "sea": "a night at sea with ships",
    "hat": "a hat lies in a box",
    "tree": "a tree stands in a field",
    "car": "old cars drive through rain",
}
PROMPTS = ("a red cat sleeps", "a pair of dogs run", "a night at sea")
UNUSED = "car"
"""The clip that is the neighbour or a reference of no prompt."""


class Enricher:
    """A language model that adds the last word of the first example to the sentence it is to rewrite."""

    def answer(self, messages: Sequence[dict[str, str]], **_: object) -> Answer:
        asked = messages[-1]["content"].replace('"', "")
        sentence = asked.split("rewrite the sentence ")[1].split(" without changing")[0]
        example = asked.split(": ", 1)[1].split(",")[0]
        return Answer(f"{sentence.capitalize()} near {example.split()[-1]}.")


def save_models(root: Path) -> Path:
    """Save a text-to-video model and the three judges; a project links to them as `models`."""
    save_tiny_text_to_video(root / "text-to-video")
    return save_tiny_judges(root)


def cut_here(jobs: Sequence[CutJob], processes: int) -> Iterator[CutClip]:
    """Cut clips in this process: workers cost time, and are tested apart."""
    return map(cut_clip, jobs)


@contextmanager
def rewriter_stood_in_for() -> Iterator[None]:
    """A language model without weights."""

    @contextmanager
    def enricher(_: object) -> Iterator[Enricher]:
        yield Enricher()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "open_language_model", enricher)
        yield


@contextmanager
def models_stood_in_for(*, workers: bool = False) -> Iterator[None]:
    """A language model and an embedder without weights, and clips cut in this process, not in workers."""

    def encode(_: Any, texts: Sequence[str]) -> Any:
        return BagOfWords().encode(texts).astype("float32")

    with rewriter_stood_in_for(), pytest.MonkeyPatch.context() as patch:
        if not workers:
            patch.setattr(clips, "cut_all", cut_here)
        patch.setattr(SentenceEmbedder, "encode", encode)
        yield


def write_world(folder: Path) -> None:
    """Write settings, pool, prompts and benchmark into a folder that has a link `models`."""
    write_captions(folder, CAPTIONS)
    for seed, name in enumerate(CAPTIONS):
        write_video(folder / "videos" / f"{name}.mp4", seed)
    for seed in range(3):
        write_video(folder / "real" / "d" / f"r{seed}.mp4", 50 + seed, frames=20)
    rows = [f"r{seed},,1,d,real {seed}" for seed in range(3)]
    (folder / "benchmark.csv").write_text(
        "\n".join(["videoid,contentUrl,duration,page_dir,name", *rows]) + "\n"
    )
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    (folder / "settings.toml").write_text(SETTINGS.replace("MODELS", str(folder / "models")))


def write_captions(folder: Path, captions: Mapping[str, str]) -> None:
    """Write the pool's list."""
    lines = [f'{name}.mp4,"{caption}"' for name, caption in captions.items()]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *lines]) + "\n")


def write_video(path: Path, seed: int, frames: int = 7) -> None:
    """Write a video of smooth noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (frames, 4, 4, 3), np.uint8)
    path.write_bytes(encode_mp4(small.repeat(4, 1).repeat(4, 2), 8.0))
