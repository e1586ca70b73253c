"""What is deleted from the artifact store when items are withdrawn, and what is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onaspr_core.pool import withdrawal
from onaspr_core.pool.manifest import build_manifest, listed_pairs
from onaspr_core.pool.withdrawal import Removed, remove_withdrawn
from onaspr_core.retrieval import neighbours
from onaspr_core.stored_kinds import INVERTED_LATENT, NOISE_PREVIEW, VIDEO
from onaspr_core.workspace import Workspace

Write = Callable[..., Path]
Open = Callable[..., Workspace]


@pytest.fixture
def takedown(tmp_path: Path) -> Path:
    """An empty takedown list."""
    path = tmp_path / "takedown.txt"
    path.write_text("")
    return path


@pytest.fixture
def workspace(open_pools: Open, write_video: Write, takedown: Path) -> Workspace:
    """Three pairs, each with a latent and a video made of it, and a video made of none."""
    captions = {f"{name}.mp4": f"caption {name}" for name in "abc"}
    for seed, name in enumerate(captions):
        write_video(name, seed=seed)
    workspace = open_pools(captions, told={"takedown": str(takedown)})
    build_manifest(workspace)
    store = workspace.store
    for pair in listed_pairs(workspace, "small"):
        record = {"clip_key": pair.clip_key, "pair_id": pair.id, "pool": "small"}
        store.write(INVERTED_LATENT, f"{pair.id[0] * 40}", ".safetensors", b"noise", record)
        neighbour = {"pair_id": pair.id, "clip_key": pair.clip_key, "caption": pair.caption}
        store.write(VIDEO, f"{pair.id[0] * 40}", ".mp4", b"video", {"neighbour": neighbour})
    store.write(VIDEO, "d" * 40, ".mp4", b"video", {"neighbour": None})
    return workspace


def left(workspace: Workspace) -> str:
    """First letters of the keys of latents, then of videos."""
    return "|".join(
        "".join(key[0] for key in workspace.store.keys(kind)) for kind in (INVERTED_LATENT, VIDEO)
    )


def test_without_withdrawn_items_nothing_is_read_and_nothing_goes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawal, "_records", None)
    assert remove_withdrawn(workspace) == Removed()
    assert left(workspace) == "abc|abcd"


def test_a_video_that_blended_withdrawn_noise_with_another_goes_too(
    workspace: Workspace, takedown: Path
) -> None:
    told = {
        pair.id: {"pair_id": pair.id, "clip_key": pair.clip_key} for pair in listed_pairs(workspace, "small")
    }
    for key, first, second in (("e", "a.mp4", "b.mp4"), ("f", "a.mp4", "c.mp4")):
        record = {"neighbour": told[first], "blended_with": [{**told[second], "inverted_key": "x"}]}
        workspace.store.write(VIDEO, key * 40, ".mp4", b"video", record)
    takedown.write_text("b.mp4\n")
    build_manifest(workspace)
    assert remove_withdrawn(workspace) == Removed(inverted_latents=1, videos=2)
    assert left(workspace) == "ac|acdf"


def test_what_was_made_of_a_withdrawn_item_is_deleted_and_only_that(
    workspace: Workspace, takedown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(list(tmp_path.rglob("bbbb*"))) == 4
    takedown.write_text("b.mp4\n")
    build_manifest(workspace)
    assert remove_withdrawn(workspace) == Removed(inverted_latents=1, videos=1)
    assert left(workspace) == "ac|acd"
    assert not [file for file in tmp_path.rglob("bbbb*") if file.is_file()]
    monkeypatch.setattr(withdrawal, "_records", None)
    assert remove_withdrawn(workspace) == Removed()


def test_a_preview_that_shows_a_withdrawn_clip_goes_and_others_stay(
    workspace: Workspace, takedown: Path
) -> None:
    clips = {pair.id: pair.clip_key for pair in listed_pairs(workspace, "small")}
    for key, names in (("e", ["a.mp4", "b.mp4"]), ("f", ["a.mp4", "c.mp4"])):
        record = {"clip_keys": [clips[name] for name in names]}
        workspace.store.write(NOISE_PREVIEW, key * 40, ".png", b"picture", record)
    takedown.write_text("b.mp4\n")
    build_manifest(workspace)
    remove_withdrawn(workspace)
    assert workspace.store.keys(NOISE_PREVIEW) == ["f" * 40]


def test_a_clip_that_another_pair_has_keeps_what_was_made_of_it(
    workspace: Workspace, takedown: Path, open_pools: Open, write_video: Write
) -> None:
    write_video("copy.mp4", seed=1)  # The bytes of b.mp4.
    captions = {f"{name}.mp4": f"caption {name}" for name in ("a", "b", "c", "copy")}
    workspace = open_pools(captions, told={"takedown": str(takedown)})
    build_manifest(workspace)
    takedown.write_text("b.mp4\n")
    build_manifest(workspace)
    assert remove_withdrawn(workspace) == Removed()
    assert left(workspace) == "abc|abcd"


def test_an_item_that_left_the_pool_before_it_was_withdrawn_is_found_by_its_records(
    workspace: Workspace, takedown: Path, open_pools: Open
) -> None:
    captions = {"a.mp4": "caption a", "c.mp4": "caption c"}
    build_manifest(open_pools(captions, told={"takedown": str(takedown)}))
    takedown.write_text("b.mp4\n")
    workspace = open_pools(captions, told={"takedown": str(takedown)})
    build_manifest(workspace)
    removed = remove_withdrawn(workspace)
    assert (removed.inverted_latents, removed.videos) == (1, 1)
    assert left(workspace) == "ac|acd"


def test_what_a_prompt_found_among_withdrawn_clips_goes_for_every_experiment_that_ever_was(
    workspace: Workspace, takedown: Path
) -> None:
    clips = {pair.id: pair.clip_key for pair in listed_pairs(workspace, "small")}
    found = [("gone", "1", "b.mp4"), ("gone", "1", "a.mp4"), ("gone/references=10", "2", "b.mp4")]
    found += [("gone", "2", "a.mp4"), ("here", "1", "c.mp4")]
    with workspace.catalog.write() as connection:
        connection.execute(neighbours._NEIGHBOURS)
        connection.execute(neighbours._SEARCHES)
        for experiment, prompt, pair in found:
            row = [experiment, prompt, 0, pair, clips[pair], f"caption {pair}", 0.5, 1]
            connection.execute("insert into neighbours values (?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("insert into neighbour_searches values (?, ?, 'key')", [experiment, prompt])
    takedown.write_text("b.mp4\n")
    build_manifest(workspace)
    remove_withdrawn(workspace)
    for table in withdrawal.SEARCHED:
        rows = workspace.catalog.rows(f"select distinct experiment, prompt_id from {table} order by all")
        assert rows == [("gone", "2"), ("here", "1")]
