"""Sentence embeddings of captions and prompts, from a Sentence-BERT model.

What does not belong here: where embeddings are kept (`index` for captions, `neighbours` for prompts).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.devices import chosen_device
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, is_a_place, resolve
from onaspr_core.workspace import Workspace

TOKENS_AT_ONCE = 16384

Vectors = npt.NDArray[np.float32]
"""float32, (texts, dimensions), rows of length 1."""


class TextEmbedder(Protocol):
    """Turns texts into vectors whose inner product is their cosine similarity."""

    @property
    def fingerprint(self) -> str:
        """Hash of the model's files; known without loading it."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (texts, dimensions) with rows of length 1."""


class SentenceEmbedder:
    """A sentence-transformers model of the workspace's settings, loaded at the first `encode`."""

    def __init__(self, workspace: Workspace) -> None:
        """Find the model; a name that is no folder is one of a model hub, and stands for itself.

        Raises:
            UserError: when the folder is empty or its package is not installed.
        """
        self._workspace = workspace
        model, revision = workspace.settings.embedding.model, workspace.settings.embedding.revision
        self._path = resolve(model, workspace.settings.base)
        self._revision: str | None = None
        version = code_versions.EMBEDDING
        if Path(self._path).exists() or is_a_place(model):
            files = folder_fingerprint(self._path)
            self.fingerprint = content_key("embedder", files=files, version=version)
        else:
            self._path, self._revision = model, revision
            self.fingerprint = content_key("embedder", hub=model, revision=revision, version=version)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (texts, dimensions) with rows of length 1.

        Raises:
            UserError: when the model cannot be loaded.
        """
        model = self._workspace.models.get(f"sentence embedder {self._path}", self._load)
        return unit_rows(encode_by_length(model, texts, self._workspace.settings.embedding.batch_size))

    def _load(self) -> Any:
        return load_sentence_transformer(self._path, self._revision)


def embedder(workspace: Workspace) -> TextEmbedder:
    """Return the embedder that the settings name; its model is loaded only when something is encoded."""
    return SentenceEmbedder(workspace)


def load_sentence_transformer(path: str, revision: str | None = None) -> Any:
    """Load a sentence-transformers model onto the GPU where there is one; pickles are not read.

    Args:
        path: A folder or a hub id.
        revision: Of the hub id.

    Raises:
        UserError: when the folder or hub id holds no such model in safetensors.
    """
    from sentence_transformers import SentenceTransformer

    from onaspr_core.retrieval import onednn

    device = chosen_device()
    try:
        model = SentenceTransformer(
            path, device=device, revision=revision, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, KeyError) as problem:
        raise UserError(
            f"embedding.model: {path} cannot be loaded as a sentence-transformers model; name a folder that "
            f"holds one, or a hub id that this machine can reach: {problem}"
        ) from problem
    if device == "cpu" and onednn.available():
        onednn.use_onednn(model)
    return model


def encode_by_length(model: Any, texts: Sequence[str], batch_size: int) -> Vectors:
    """Encode texts of as many tokens together, so that nothing is padded.

    Padding costs time, and with it a text's vector would depend, in its last bits, on the texts beside it.

    Args:
        model: A sentence-transformers model.
        texts: At least one.
        batch_size: The most texts that go through the model at once; fewer when they are long.

    Returns:
        What the model's own `encode` returns, float32 (texts, dimensions), in the order of the texts.
    """
    mask = model.preprocess(list(texts)).get("attention_mask")
    lengths = np.ones(len(texts), np.int64) if mask is None else mask.sum(1).numpy()
    parts, order = [], np.argsort(lengths, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        at_once = max(1, min(batch_size, TOKENS_AT_ONCE // int(lengths[rows[0]])))
        parts.append(model.encode([texts[i] for i in rows], batch_size=at_once, show_progress_bar=False))
    encoded = np.concatenate(parts).astype(np.float32, copy=False)
    vectors = np.empty_like(encoded)
    vectors[order] = encoded
    return vectors


def unit_rows(rows: Vectors) -> Vectors:
    """Scale rows to length 1 in float64; a row of zeros stays."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
