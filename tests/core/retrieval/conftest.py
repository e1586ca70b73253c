"""Pools of captions whose clips are all one tiny video, and an embedder without a model."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core.pool import clips
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.cut import CutClip, CutJob, cut_clip
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.retrieval import embedder
from onaspr_core.settings import ClipSettings, EmbeddingSettings, PoolSettings, Settings
from onaspr_core.video import encode_mp4
from onaspr_core.workspace import Workspace


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
def open_pools(
    tmp_path: Path, model: BagOfWords, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Workspace]:
    """Bring `captions` (id to caption) through manifest and clips as pools of these sizes."""

    def cut_here(jobs: Sequence[CutJob], processes: int) -> Iterator[CutClip]:
        return map(cut_clip, jobs)

    monkeypatch.setattr(clips, "cut_all", cut_here)
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
