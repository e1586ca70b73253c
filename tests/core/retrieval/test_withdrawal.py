"""A withdrawn pair leaves the caption index, and the disk, at the next run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.retrieval import index, vector_index
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.retrieval.vector_index import PAYS_FROM
from onaspr_core.retrieval.versions import caption_state
from onaspr_core.workspace import Workspace

Open = Callable[..., Workspace]
CAPTIONS = {f"{number}.mp4": f"animal number {number}" for number in range(39)}
ALL = {**CAPTIONS, "secret.mp4": "a withdrawn scene"}
NAMED = (b"secret.mp4", b"withdrawn scene")


def with_list(workspace: Workspace, *names: str) -> Workspace:
    """The workspace after its pool got a takedown list, up to its clips."""
    (workspace.settings.base / "takedown.txt").write_text("\n".join(names))
    pool = workspace.settings.pools["all"].model_copy(update={"takedown": "takedown.txt"})
    workspace = Workspace(workspace.settings.model_copy(update={"pools": {"all": pool}}))
    build_manifest(workspace)
    make_clips(workspace)
    return workspace


def table_of(workspace: Workspace, version: int | None = None) -> CaptionTable:
    return CaptionTable(workspace.lance_path, embedder(workspace).fingerprint, "all", version)


def published(workspace: Workspace) -> int:
    return caption_state(workspace, "all", embedder(workspace).fingerprint).table_version


def ids(table: CaptionTable) -> set[str]:
    return {pair["id"] for pairs in table.rows()["pairs"].to_pylist() for pair in pairs}


def in_files(workspace: Workspace, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in Path(workspace.lance_path).rglob("*") if file.is_file())


def assert_gone(workspace: Workspace) -> None:
    """What was withdrawn is nowhere, and readers find everything else."""
    assert ids(table_of(workspace, published(workspace))) == set(CAPTIONS)
    assert in_files(workspace, b"38.mp4")
    assert not any(in_files(workspace, text) for text in NAMED)


@pytest.mark.parametrize("pays_from", [PAYS_FROM, 20])
def test_one_withdrawn_pair_of_forty_leaves_the_index_and_its_files(
    open_pools: Open, monkeypatch: pytest.MonkeyPatch, pays_from: int
) -> None:
    monkeypatch.setattr(vector_index, "PAYS_FROM", pays_from)
    workspace = open_pools(ALL)
    before = embed_captions(workspace)
    assert all(in_files(workspace, text) for text in NAMED)
    workspace = with_list(workspace, "secret.mp4")
    after = embed_captions(workspace)
    assert after.version != before.version
    assert_gone(workspace)
    assert (after.facts["captions_indexed"], after.facts["captions_unindexed"]) == (
        (39, 0) if pays_from == 20 else (0, 0)
    )


def test_a_pool_of_which_all_pairs_are_withdrawn_holds_nothing(open_pools: Open) -> None:
    workspace = open_pools({"secret.mp4": ALL["secret.mp4"]})
    embed_captions(workspace)
    workspace = with_list(workspace, "secret.mp4")
    embed_captions(workspace)
    assert not any(in_files(workspace, text) for text in NAMED)


@pytest.mark.parametrize("step", ["keep_up", "store_states", "drop_others", "note"])
def test_a_run_that_ends_before_everything_is_forgotten_leaves_that_to_the_next(
    open_pools: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    workspace = open_pools(ALL)
    embed_captions(workspace)
    workspace = with_list(workspace, "secret.mp4")

    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as ended:
        ended.setattr(index, step, end)
        with pytest.raises(KeyboardInterrupt):
            embed_captions(workspace)
    assert table_of(workspace, published(workspace)).rows().num_rows >= len(CAPTIONS), "readers go on"
    embed_captions(workspace)
    assert_gone(workspace)


def test_a_pair_that_left_before_it_was_named_is_forgotten_too(open_pools: Open) -> None:
    embed_captions(open_pools(ALL))
    workspace = open_pools(CAPTIONS)
    embed_captions(workspace)
    assert any(in_files(workspace, text) for text in NAMED)
    workspace = with_list(workspace, "secret.mp4")
    embed_captions(workspace)
    assert_gone(workspace)


def test_a_pair_that_is_withdrawn_once_more_is_forgotten_once_more(
    open_pools: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = with_list(open_pools(ALL), "secret.mp4")
    embed_captions(workspace)
    workspace = with_list(workspace)
    embed_captions(workspace)
    assert in_files(workspace, b"secret.mp4")
    workspace = with_list(workspace, "secret.mp4")
    with monkeypatch.context() as ended, pytest.raises(ZeroDivisionError):
        ended.setattr(index, "keep_up", lambda *_: 1 / 0)
        embed_captions(workspace)
    embed_captions(workspace)
    assert_gone(workspace)


def test_what_was_forgotten_is_not_forgotten_again(open_pools: Open) -> None:
    workspace = with_list(open_pools(ALL), "secret.mp4")
    embed_captions(workspace)
    before = published(workspace)
    embed_captions(workspace)
    assert published(workspace) == before
    workspace = with_list(open_pools({**ALL, "new.mp4": "a new animal"}), "secret.mp4")
    embed_captions(workspace)
    assert ids(table_of(workspace)) == {*CAPTIONS, "new.mp4"}
    assert ids(table_of(workspace, before)) == set(CAPTIONS), "a later change leaves earlier states"
