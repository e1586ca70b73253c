"""Pools of captions whose clips are all one tiny video, and an embedder without a model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.compute import Outcome
from onaspr_core.media.video import encode_mp4
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.settings import (
    ClipSettings,
    EmbeddingSettings,
    EvaluationSettings,
    Experiment,
    FeatureSettings,
    PoolSettings,
    ReferenceSettings,
    Settings,
)
from onaspr_core.workspace import Workspace
from tests.core.retrieval.asking import PROMPTS, Ask


class BagOfWords:
    """Stands in for a Sentence-BERT model: the sum of one random vector per word."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def preprocess(self, texts: Sequence[str]) -> dict[str, Any]:
        return {}

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        self.encoded += texts
        return np.stack([sum(map(self.word, text.lower().split()), np.zeros(16)) for text in texts])

    @staticmethod
    def word(word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        return np.random.default_rng(seed).standard_normal(16)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BagOfWords:
    """The model that workspaces of this test load; it remembers what it was asked to encode."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("none")
    bag = BagOfWords()
    monkeypatch.setattr(embedder, "load_sentence_transformer", lambda path, revision=None: bag)
    return bag


@pytest.fixture
def open_pools(tmp_path: Path, model: BagOfWords, cut_in_this_process: None) -> Callable[..., Workspace]:
    """Bring `captions` (id to caption) through manifest and clips as pools of these sizes."""

    video = encode_mp4(np.zeros((1, 16, 16, 3), np.uint8), 8.0)
    other = encode_mp4(np.full((1, 16, 16, 3), 200, np.uint8), 8.0)

    def open_(captions: Mapping[str, str], changed: Sequence[str] = (), **sizes: int | None) -> Workspace:
        videos = tmp_path / "videos"
        videos.mkdir(exist_ok=True)
        for name in captions:
            (videos / name).write_bytes(other if name in changed else video)
        lines = ["file,caption", *(f'{name},"{caption}"' for name, caption in captions.items())]
        (tmp_path / "captions.csv").write_text("\n".join(lines), encoding="utf-8")
        clip = ClipSettings(resolution=16)
        pools = {
            name: PoolSettings(
                format="folder", path="captions.csv", videos="videos", size=size, seed=5, clip=clip
            )
            for name, size in (sizes or {"all": None}).items()
        }
        workspace = Workspace(
            Settings(
                base=tmp_path,
                embedding=EmbeddingSettings(model="./model"),
                pools=pools,
                backbones={},
                experiments={},
            )
        )
        build_manifest(workspace)
        make_clips(workspace)
        return workspace

    return open_


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Bring captions and prompts up to date, then find the neighbours of one experiment."""

    def ask_(
        workspace: Workspace,
        prompts: dict[str, str] = PROMPTS,
        pool: str = "all",
        k: int = 2,
        name: str = "e",
    ) -> tuple[Experiment, Outcome]:
        lines = [f"{id_},{text}" for id_, text in prompts.items()]
        (tmp_path / "prompts.csv").write_text("\n".join(["id,prompt", *lines]))
        features = FeatureSettings(label="none", image_classifier="", image_text="", video_classifier="")
        experiment = Experiment(
            name=name,
            pool=pool,
            backbone="none",
            prompts="prompts.csv",
            eta=0.5,
            gamma=0.1,
            references=ReferenceSettings(k=k),
            evaluation=EvaluationSettings(features=features),
        )
        ingest_prompts(workspace, experiment)
        embed_captions(workspace)
        return experiment, find_neighbours(workspace, experiment)

    return ask_
