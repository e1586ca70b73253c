from collections.abc import Callable
from pathlib import Path

import lancedb
import numpy as np
import pytest

from onaspr_core.errors import UserError
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.table import CaptionIndex, CaptionRow
from onaspr_core.retrieval.versions import caption_version
from onaspr_core.workspace import Workspace

Open = Callable[..., Workspace]
ANIMALS = {"a.mp4": "a dog runs", "b.mp4": "a cat sleeps", "c.mp4": "a bird sings", "d.mp4": "a dog runs"}


def index_of(workspace: Workspace) -> CaptionIndex:
    return CaptionIndex(workspace.lance_path, embedder(workspace).fingerprint)


def content(workspace: Workspace) -> dict[tuple[str, str], tuple[CaptionRow, bytes]]:
    """Everything in the index, by pool and pair."""
    return {
        (row.pool, row.pair_id): (row, vector.tobytes())
        for pool in workspace.settings.pools
        for block in index_of(workspace).blocks(pool)
        for row, vector in zip(block.rows, block.vectors, strict=True)
    }


def test_equal_captions_are_embedded_once_in_all_pools_together(open_pools: Open, model: object) -> None:
    workspace = open_pools(ANIMALS, one=None, two=None)
    outcome = embed_captions(workspace)
    assert (outcome.total, outcome.computed, outcome.reused) == (3, 3, 0)
    assert outcome.facts["rows"] == 8
    assert sorted(model.encoded) == ["a bird sings", "a cat sleeps", "a dog runs"]  # type: ignore[attr-defined]
    assert outcome.models
    rows = content(workspace)
    assert rows["one", "a.mp4"][1] == rows["two", "d.mp4"][1]


def test_a_second_run_embeds_nothing_loads_nothing_and_writes_nothing(open_pools: Open) -> None:
    first = embed_captions(open_pools(ANIMALS))
    workspace = open_pools(ANIMALS)
    table = lancedb.connect(workspace.lance_path).open_table(index_of(workspace)._name)
    version = table.version
    second = embed_captions(workspace)
    assert (second.computed, second.reused, second.models) == (0, 3, ())
    assert second.version == first.version
    table.checkout_latest()
    assert table.version == version


def test_new_changed_and_removed_captions_end_as_a_rebuild_would(
    open_pools: Open, model: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = embed_captions(open_pools(ANIMALS))
    model.encoded.clear()  # type: ignore[attr-defined]
    changed = {"a.mp4": "a cat sleeps", "b.mp4": "a dog runs", "c.mp4": "a fish swims", "e.mp4": "a dog runs"}
    workspace = open_pools(changed)
    after = embed_captions(workspace)
    assert model.encoded == ["a fish swims"]  # type: ignore[attr-defined]
    assert (after.total, after.computed, after.reused) == (3, 1, 2)
    assert after.facts["rows_removed"] == 1
    assert after.version != before.version
    rebuilt = open_pools(changed)
    rebuilt.lance_path = str(tmp_path_factory.mktemp("rebuilt"))
    assert embed_captions(rebuilt).version == after.version
    assert content(rebuilt) == content(workspace)
    assert {pair_id for _, pair_id in content(workspace)} == set(changed)


def test_a_new_clip_under_an_old_caption_moves_the_version_and_embeds_nothing(open_pools: Open) -> None:
    before = embed_captions(open_pools(ANIMALS))
    after = embed_captions(open_pools(ANIMALS, changed=["b.mp4"]))
    assert after.computed == 0
    assert after.facts["rows_changed"] == 1
    assert after.version != before.version


def test_another_model_embeds_everything_and_the_old_table_goes(open_pools: Open) -> None:
    workspace = open_pools(ANIMALS)
    embed_captions(workspace)
    (workspace.settings.base / "model/weights").write_text("other weights")
    assert embed_captions(workspace).computed == 3
    assert lancedb.connect(workspace.lance_path).list_tables().tables == [index_of(workspace)._name]


def test_only_pairs_whose_clip_is_ready_are_in_the_index(open_pools: Open) -> None:
    workspace = open_pools({**ANIMALS, "empty.mp4": ""})
    embed_captions(workspace)
    assert {pair_id for _, pair_id in content(workspace)} == set(ANIMALS)


def test_a_quote_in_a_name_is_only_text(tmp_path: Path) -> None:
    index = CaptionIndex(str(tmp_path), "f")
    odd, other = "o'clock' or 'a' = 'a", "other"
    rows = [CaptionRow(f"r-{name}", name, "p", 1, "a dog", f"k-{name}", "c") for name in (odd, other)]
    index.upsert(rows, np.eye(2, dtype=np.float32))
    assert [block.rows for block in index.blocks(odd)] == [[rows[0]]]
    assert set(index.vectors([rows[0].key])) == {rows[0].key}
    index.delete([rows[0].row])
    assert index.rows() == [rows[1]]


def test_what_is_lacking_is_said(open_pools: Open) -> None:
    workspace = open_pools({}, empty=None)
    fingerprint = embedder(workspace).fingerprint
    with pytest.raises(UserError, match="materialize caption_embeddings"):
        caption_version(workspace, "empty", fingerprint)
    embed_captions(workspace)
    with pytest.raises(UserError, match="pool empty is empty"):
        caption_version(workspace, "empty", fingerprint)
