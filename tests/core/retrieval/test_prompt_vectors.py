"""Embeddings of prompts and of a benchmark's captions: made once, stored as they are made."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from onaspr_core.retrieval import neighbours
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.neighbours import prompt_vectors
from onaspr_core.workspace import Workspace


def test_what_was_encoded_before_a_run_was_ended_is_not_encoded_again(
    open_pools: Callable[..., Workspace], model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "PROMPTS_PER_WRITE", 2)
    workspace = open_pools({})
    texts = ["a dog", "a cat", "a dog", "a bird", "a fish", "a whale"]
    encode = model.encode

    def end_at_the_fourth(texts: Sequence[str], **options: Any) -> np.ndarray:
        if "a fish" in texts:
            raise KeyboardInterrupt
        return np.asarray(encode(texts, **options))

    monkeypatch.setattr(model, "encode", end_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        prompt_vectors(workspace, embedder(workspace), texts)
    monkeypatch.setattr(model, "encode", encode)
    model.encoded.clear()
    found = prompt_vectors(workspace, embedder(workspace), texts)
    assert not {"a dog", "a cat"}.intersection(model.encoded)
    assert {"a fish", "a whale"} <= set(model.encoded)
    assert np.array_equal(found, embedder(workspace).encode(texts))
