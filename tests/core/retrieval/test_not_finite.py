"""A model that gives NaN for a text, and a stored vector that holds one: named, and kept from the others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from onaspr_core.errors import UserError
from onaspr_core.retrieval.embedder import embedder, encode_by_length
from onaspr_core.retrieval.exact import nearest_to
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.lookup import CaptionSearch
from onaspr_core.retrieval.neighbours import prompt_vectors
from onaspr_core.retrieval.search import nearest
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace
from tests.core.retrieval.asking import Ask

Open = Callable[..., Workspace]
BAD = "a cat sleeps"
CAPTIONS = {"a.mp4": "a dog runs", "b.mp4": BAD, "c.mp4": "a bird sings"}


def spoil(model: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Let the model give NaN for a text."""
    encode = model.encode

    def spoilt(texts: Sequence[str], **options: Any) -> np.ndarray:
        rows = np.array(encode(texts, **options))
        rows[[one == text for one in texts], 3] = np.nan
        return rows

    monkeypatch.setattr(model, "encode", spoilt)


def captions_of(workspace: Workspace) -> list[str]:
    table = CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, "all")
    return sorted(table.rows()["caption"].to_pylist())


def test_a_caption_without_a_finite_vector_is_a_failure_and_the_others_are_in_the_index(
    open_pools: Open, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_pools(CAPTIONS)
    with monkeypatch.context() as patch:
        spoil(model, patch, BAD)
        for computed, reused in ((2, 0), (0, 2)):
            broken = embed_captions(workspace)
            assert (broken.total, broken.computed, broken.reused) == (3, computed, reused)
            [failure] = broken.failures
            assert failure.item == BAD and "not finite" in failure.reason
            assert captions_of(workspace) == ["a bird sings", "a dog runs"]
    mended = embed_captions(workspace)
    assert (mended.computed, mended.reused, mended.failures) == (1, 2, ())
    assert mended.version != broken.version
    assert captions_of(workspace) == sorted(CAPTIONS.values())


def test_a_pool_without_any_finite_vector_is_told_caption_by_caption(
    open_pools: Open, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(model, monkeypatch, BAD)
    outcome = embed_captions(open_pools({"b.mp4": BAD}))
    assert (outcome.computed, [failure.item for failure in outcome.failures]) == (0, [BAD])


def test_a_prompt_without_a_finite_vector_is_named_and_the_others_are_kept(
    open_pools: Open, ask: Ask, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_pools(CAPTIONS)
    embed_captions(workspace)
    spoil(model, monkeypatch, "a spoilt prompt")
    texts = ["a dog", "a spoilt prompt", "a bird"]
    with pytest.raises(UserError, match=r"1 prompt\(s\), 'a spoilt prompt' among them"):
        ask(workspace, {str(number): text for number, text in enumerate(texts)})
    with pytest.raises(UserError, match="reword it"):
        CaptionSearch(workspace, "all").search("a spoilt prompt")
    model.encoded.clear()
    prompt_vectors(workspace, embedder(workspace), ["a dog", "a bird"])
    assert model.encoded == []


def test_a_stored_vector_that_is_not_finite_is_told_instead_of_hiding_the_others() -> None:
    vectors = np.eye(4, 8, dtype=np.float32)
    vectors[2, 5] = np.nan
    ranks = np.arange(4, dtype=np.int64)
    for k in (1, 4):
        with pytest.raises(UserError, match=r"captions\.lance"):
            nearest(vectors[:1], iter([(ranks, vectors)]), k)
        with pytest.raises(UserError, match=r"captions\.lance"):
            nearest_to(vectors[0], ranks, vectors, k)


class SmallGpu:
    """A model whose memory has room for two texts at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def preprocess(self, texts: Sequence[str]) -> dict[str, Any]:
        return {}

    def encode(self, texts: Sequence[str], batch_size: int, **_: Any) -> np.ndarray:
        self.asked.append(batch_size)
        if batch_size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return np.array([[float(len(text))] for text in texts])


def test_texts_that_do_not_fit_into_memory_are_embedded_fewer_at_a_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gpu = SmallGpu()
    found = encode_by_length(gpu, ["a", "bb", "ccc"], 8)
    assert (found[:, 0].tolist(), gpu.asked) == ([1.0, 2.0, 3.0], [8, 4, 2])
    assert "embeddings: 4 at once do not fit into the GPU's memory; going on with 2" in caplog.text
