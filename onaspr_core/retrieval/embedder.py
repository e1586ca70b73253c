"""Sentence embeddings of captions and prompts, from a Sentence-BERT model.

What does not belong here: where embeddings are kept (`index` for captions, `neighbours` for prompts).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, is_a_place, resolve
from onaspr_core.workspace import Workspace

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
        model = workspace.settings.embedding.model
        self._path = resolve(model, workspace.settings.base)
        if Path(self._path).exists() or is_a_place(model):
            self.fingerprint = content_key("embedder", files=folder_fingerprint(self._path))
        else:
            self._path = model
            self.fingerprint = content_key("embedder", hub=model)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return float32 (texts, dimensions) with rows of length 1.

        Raises:
            UserError: when the model cannot be loaded.
        """
        model = self._workspace.models.get(f"sentence embedder {self._path}", self._load)
        rows = model.encode(
            list(texts),
            batch_size=self._workspace.settings.embedding.batch_size,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return unit_rows(np.asarray(rows, np.float32))

    def _load(self) -> Any:
        return load_sentence_transformer(self._path)


def embedder(workspace: Workspace) -> TextEmbedder:
    """Return the embedder that the settings name; its model is loaded only when something is encoded."""
    return SentenceEmbedder(workspace)


def load_sentence_transformer(path: str) -> Any:
    """Load a sentence-transformers model onto the GPU where there is one.

    Raises:
        UserError: when the folder or hub id holds no such model.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return SentenceTransformer(path, device=device)
    except (OSError, ValueError, KeyError) as problem:
        raise UserError(
            f"embedding.model: {path} cannot be loaded as a sentence-transformers model; name a folder that "
            f"holds one, or a hub id that this machine can reach: {problem}"
        ) from problem


def unit_rows(rows: Vectors) -> Vectors:
    """Scale rows to length 1 in float64; a row of zeros stays."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
