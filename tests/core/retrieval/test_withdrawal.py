"""A withdrawn pair leaves the caption index, and the disk, at the next run."""

from collections.abc import Callable
from pathlib import Path

from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace


def test_a_withdrawn_pair_leaves_the_caption_index(
    open_pools: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = open_pools({"a.mp4": "a dog", "b.mp4": "a cat", "c.mp4": "a bird"})
    before = embed_captions(workspace)
    assert in_files(workspace, b"b.mp4")
    (tmp_path / "takedown.txt").write_text("b.mp4\n")
    pool = workspace.settings.pools["all"].model_copy(update={"takedown": "takedown.txt"})
    workspace = Workspace(workspace.settings.model_copy(update={"pools": {"all": pool}}))
    build_manifest(workspace)
    make_clips(workspace)
    after = embed_captions(workspace)
    assert after.version != before.version
    table = CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, "all")
    assert sorted(pair["id"] for pairs in table.rows()["pairs"].to_pylist() for pair in pairs) == [
        "a.mp4",
        "c.mp4",
    ]
    assert in_files(workspace, b"a.mp4")
    assert not in_files(workspace, b"b.mp4")


def in_files(workspace: Workspace, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in Path(workspace.lance_path).rglob("*") if file.is_file())
