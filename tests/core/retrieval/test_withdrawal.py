"""A withdrawn pair leaves the caption index at the next run."""

from collections.abc import Callable
from pathlib import Path

from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.table import CaptionIndex
from onaspr_core.workspace import Workspace


def test_a_withdrawn_pair_leaves_the_caption_index(
    open_pools: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = open_pools({"a.mp4": "a dog", "b.mp4": "a cat", "c.mp4": "a bird"})
    before = embed_captions(workspace)
    (tmp_path / "takedown.txt").write_text("b.mp4\n")
    pool = workspace.settings.pools["all"].model_copy(update={"takedown": "takedown.txt"})
    workspace = Workspace(workspace.settings.model_copy(update={"pools": {"all": pool}}))
    build_manifest(workspace)
    make_clips(workspace)
    after = embed_captions(workspace)
    assert after.version != before.version
    index = CaptionIndex(workspace.lance_path, embedder(workspace).fingerprint)
    assert sorted(row.pair_id for row in index.rows()) == ["a.mp4", "c.mp4"]
