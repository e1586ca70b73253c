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
from onaspr_core.batches import BatchSizes, is_out_of_memory
from onaspr_core.devices import chosen_device
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, is_a_place, resolve
from onaspr_core.workspace import Workspace

TOKENS_AT_ONCE = 16384

FILES, OTHERS = ["*.json", "*.txt", "*.model", "*.safetensors"], ["onnx/*", "openvino/*"]
"""What is downloaded of a hub's model, and what of these is for other engines."""

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
    import httpx2
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    from onaspr_core.retrieval import onednn

    device = chosen_device()
    try:
        folder = _without_pickles(path, revision)
        model = SentenceTransformer(str(folder), device=device, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError, KeyError, SafetensorError, httpx2.HTTPError) as problem:
        raise UserError(
            f"embedding.model: {path} cannot be loaded as a sentence-transformers model; name a folder that "
            f"holds one, or a hub id that this machine can reach: {problem}"
        ) from problem
    if device == "cpu" and onednn.available():
        onednn.use_onednn(model)
    return model


def _without_pickles(path: str, revision: str | None) -> Path:
    """Return the folder of a model; of a hub's, which is downloaded the first time, what is needed.

    Raises:
        ValueError: when a part of it is a pickle: for parts beside the transformer, sentence-transformers
            would read it.
    """
    from huggingface_hub import snapshot_download

    folder = Path(path)
    if not folder.is_dir():
        hub_id = path if "/" in path else f"sentence-transformers/{path}"
        folder = Path(
            snapshot_download(hub_id, revision=revision, allow_patterns=FILES, ignore_patterns=OTHERS)
        )
    for pickled in folder.rglob("pytorch_model.bin"):
        if not any(pickled.parent.glob("*.safetensors")):
            raise ValueError(f"{pickled} is a pickle, and no safetensors file lies beside it")
    return folder


def encode_by_length(model: Any, texts: Sequence[str], batch_size: int) -> Vectors:
    """Encode texts of as many tokens together, so that nothing is padded.

    Padding costs time, and with it a text's vector would depend, in its last bits, on the texts beside it.

    Args:
        model: A sentence-transformers model.
        texts: At least one.
        batch_size: The most texts that go through the model at once; fewer when they are long, or do not fit
            into a GPU's memory.

    Returns:
        What the model's own `encode` returns, float32 (texts, dimensions), in the order of the texts.

    Raises:
        UserError: when a GPU's memory is too small for a single text.
    """
    sizes = BatchSizes(batch_size)
    mask = model.preprocess(list(texts)).get("attention_mask")
    lengths = np.ones(len(texts), np.int64) if mask is None else mask.sum(1).numpy()
    parts, order = [], np.argsort(lengths, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        most = max(1, TOKENS_AT_ONCE // int(lengths[rows[0]]))
        parts.append(_encode_what_fits(model, [texts[i] for i in rows], most, sizes))
    encoded = np.concatenate(parts).astype(np.float32, copy=False)
    vectors = np.empty_like(encoded)
    vectors[order] = encoded
    return vectors


def _encode_what_fits(model: Any, texts: Sequence[str], most: int, sizes: BatchSizes) -> Vectors:
    while True:
        at_once = min(sizes.next, most)
        try:
            encoded: Vectors = model.encode(texts, batch_size=at_once, show_progress_bar=False)
            return encoded
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
        sizes.did_not_fit("embeddings", at_once, "use a GPU with more memory, or a smaller embedding.model")


def unusable(texts: Sequence[str], vectors: Vectors) -> list[str]:
    """Return the texts whose vectors hold a value that is not finite: no cosine is known of them."""
    return [texts[row] for row in np.flatnonzero(~np.isfinite(vectors).all(1)).tolist()]


def unit_rows(rows: Vectors) -> Vectors:
    """Scale rows to length 1 in float64; a row of zeros stays."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
