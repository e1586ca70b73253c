"""A file of the store deleted, cut short or flipped: found by who reads it, and made again by its stage."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from onaspr_core.compute import Outcome
from onaspr_core.inversion import TENSOR
from onaspr_core.repairs import run_stage
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import FEATURES, INVERTED_LATENT, NOISE_PREVIEW, REWRITE, VIDEO
from onaspr_core.workspace import Workspace
from tests.faults.child import STAGES, materialize, start
from tests.faults.conftest import Undisturbed
from tests.faults.kept import kept
from tests.small_project import models_stood_in_for

BY_NAME = dict(STAGES)


@pytest.fixture(scope="module")
def made(new_project: Callable[[str], Path]) -> Path:
    """A project in which everything was made."""
    folder = new_project("damaged")
    process = start(materialize, folder)
    process.join()
    assert process.exitcode == 0
    return folder


def run(folder: Path, stage: str) -> Outcome:
    with models_stood_in_for():
        workspace = Workspace(load_settings(folder / "settings.toml"))
        return run_stage(workspace, lambda w: BY_NAME[stage](w, w.settings.experiment("one")))


def payload(folder: Path, kind: str, number: int) -> Path:
    store = Workspace(load_settings(folder / "settings.toml")).store
    return Path(store.url(kind, store.keys(kind)[number]))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGES = pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "deleted"])


@DAMAGES
@pytest.mark.parametrize(
    ("kind", "stage"),
    [(INVERTED_LATENT, "inverted_latents"), (REWRITE, "rewritten_prompts"), (VIDEO, "spr_videos")],
)
def test_a_stage_makes_its_damaged_items_again_in_the_run_that_finds_them(
    made: Path, undisturbed: Undisturbed, kind: str, stage: str, damage: Callable[[Path], None]
) -> None:
    store = Workspace(load_settings(made / "settings.toml")).store
    own = [key for key in store.keys(kind) if store.record(kind, key).get("variant") in (None, "spr")]
    damage(Path(store.url(kind, own[0])))
    for key in store.keys(NOISE_PREVIEW):
        # Without its preview the stage of inversion reads what it made.
        store.delete(NOISE_PREVIEW, key)
    outcome = run(made, stage)
    assert (outcome.computed, outcome.repaired, outcome.failures) == (1, 1, ())
    assert outcome.reused == outcome.total - 1
    run(made, "inverted_latents")
    assert kept(made) == undisturbed.kept


def test_a_damaged_item_of_another_stage_is_a_failure_that_says_what_to_materialize(
    made: Path, undisturbed: Undisturbed
) -> None:
    flip(payload(made, INVERTED_LATENT, 0))
    for path in [Path(made / "store/artifacts" / VIDEO)]:
        for record in path.rglob("*.record.json"):
            record.unlink()
    broken = run(made, "ona_videos")
    assert 0 < len(broken.failures) < broken.total
    assert all("materialize inverted_latents" in failure.reason for failure in broken.failures)
    assert run(made, "inverted_latents").repaired == 1
    for stage in ("baseline_videos", "ona_videos", "spr_videos", "ona_spr_videos"):
        assert run(made, stage).failures == ()
    assert kept(made) == undisturbed.kept


def test_a_stored_latent_that_is_not_finite_is_found_named_and_made_again(
    made: Path, undisturbed: Undisturbed
) -> None:
    store = Workspace(load_settings(made / "settings.toml")).store
    key = store.keys(INVERTED_LATENT)[1]
    noise = store.read_tensors(INVERTED_LATENT, key)[TENSOR].copy()
    noise.flat[3] = np.nan
    store.write(
        INVERTED_LATENT, key, ".safetensors", save({TENSOR: noise}), store.record(INVERTED_LATENT, key)
    )
    outcome = run(made, "inverted_latents")
    assert (outcome.computed, outcome.repaired, outcome.failures) == (1, 1, ())
    assert kept(made) == undisturbed.kept


def test_damaged_features_are_made_again_before_they_are_scored(made: Path, undisturbed: Undisturbed) -> None:
    flip(payload(made, FEATURES, 0))
    for record in (made / "store/artifacts/score").rglob("*.record.json"):
        record.unlink()
    outcome = run(made, "scores")
    assert (outcome.repaired, outcome.failures) == (1, ())
    assert kept(made) == undisturbed.kept


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flipped", "cut", "deleted"])
def test_clips_of_a_damaged_shard_are_cut_again(
    made: Path, undisturbed: Undisturbed, damage: Callable[[Path], None]
) -> None:
    for shard in (made / "store/shards").glob("*.tar"):
        data = bytearray(shard.read_bytes())
        if damage is flip:
            data[600] ^= 255
            shard.write_bytes(data)
        elif damage is cut:
            shard.write_bytes(data[:600])
        else:
            shard.unlink()
    outcome = run(made, "pool_clips")
    assert outcome.repaired >= 1 and outcome.failures == ()
    assert kept(made) == undisturbed.kept
