"""Checks and the automation: a failed one stops what is downstream of it, and no change is lost by it."""

from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.checks import CHECKS
from onaspr_core.checks import noise
from onaspr_core.inversion import clip_items
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace
from tests.assets.automation.platform import Checked, Platform, Ran, assets, bring_back, computed

LATENTS = dg.AssetKey("inverted_latents")
INVERTED = dg.AssetCheckKey(LATENTS, "every_clip_is_inverted")
OF_LATENTS = ["every_clip_is_inverted", "noise_is_nearly_gaussian"]
OF_ONE = ["figures", "gallery", "ona_spr_videos", "ona_videos", "scores", "tables"]
AFTER_LATENTS = sorted([*OF_ONE, "report"])


def verdicts(platform: Platform, check: str = INVERTED.name) -> list[tuple[str | None, bool]]:
    """What a check found, run after run, with the experiment."""
    return [(one.partition, one.passed) for one in platform.checked if one.check == check]


def by_partition(ran: list[Ran]) -> dict[str | None, list[str]]:
    """The assets that ran, by experiment."""
    return {one.partition: assets([r for r in ran if r.partition == one.partition]) for one in ran}


def test_every_check_runs_once_when_everything_is_made(first: list[Ran], settled: Platform) -> None:
    assert first
    found = Counter((one.asset, one.check) for one in settled.checked)
    wanted = [key for check in CHECKS for key in check.check_keys]
    assert found == {(key.asset_key.to_user_string(), key.name): 1 for key in wanted}
    warned = {one.check for one in settled.checked if not one.passed}
    assert warned <= {"noise_is_nearly_gaussian"}
    assert settled.settle() == []
    assert sum(found.values()) == len(settled.checked), "nothing is checked again for nothing"


@pytest.mark.timeout(600)
def test_a_failed_check_stops_what_is_downstream_of_it_for_that_experiment_until_it_passes(
    settled: Platform,
) -> None:
    start = settled.settings.index("[experiments.one]")
    two = (
        settled.settings[start:]
        .replace("experiments.one", "experiments.two")
        .replace("steps = 4", "steps = 5")
    )
    (shard,) = (settled.folder / "store" / "shards").glob("*.tar")
    away = shard.rename(settled.folder / "away")
    settled.save(settled.settings.replace("eta = 0.5", "eta = 0.6") + two)
    ran = by_partition(settled.settle())
    assert ran["one"] == OF_ONE, "the other experiment goes on"
    assert ran[None] == ["report"]
    assert "inverted_latents" in ran["two"]
    assert {"baseline_videos", "spr_videos"} <= set(ran["two"]), "what is not downstream is made"
    assert not set(AFTER_LATENTS) & set(ran["two"])
    assert verdicts(settled)[-1] == ("two", False)
    assert settled.settle() == [], "it waits, and tries nothing again"

    away.rename(shard)
    mended = settled.run("two", {LATENTS, *(dg.AssetCheckKey(LATENTS, name) for name in OF_LATENTS)})
    assert computed(mended) == {"inverted_latents": 3}
    assert verdicts(settled)[-1] == ("two", True)
    assert by_partition(settled.settle()) == {"two": OF_ONE, None: ["report"]}


def test_a_change_waits_for_a_failed_check_and_goes_on_when_the_check_alone_passes(settled: Platform) -> None:
    workspace = Workspace(load_settings(settled.folder / "settings.toml"))
    item = clip_items(workspace, workspace.settings.experiment("one"))[0]
    payload = Path(workspace.store.url(INVERTED_LATENT, item.key))
    whole = payload.read_bytes()
    payload.write_bytes(whole[:-1] + b"x")
    assert settled.run("one", {INVERTED}) == []
    assert verdicts(settled)[-1] == ("one", False)
    settled.edit("eta = 0.5", "eta = 0.7")
    assert settled.settle() == []
    bring_back(payload, whole)
    assert settled.run("one", {INVERTED}) == []
    assert assets(settled.settle()) == AFTER_LATENTS


def test_an_asset_that_was_made_and_not_checked_is_checked_by_itself(settled: Platform) -> None:
    job = settled.defs.resolve_implicit_global_asset_job_def()
    without = job.get_subset(asset_selection={LATENTS}, asset_check_selection=set())
    assert without.execute_in_process(instance=settled.instance, partition_key="one").success
    before = len(settled.checked)
    assert settled.settle() == []
    caught_up = settled.checked[before:]
    assert sorted(one.check for one in caught_up) == OF_LATENTS
    assert Checked("inverted_latents", INVERTED.name, "one", True) in caught_up


def test_a_check_that_breaks_is_tried_once_more_and_then_waits(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fail(*_: object) -> None:
        tried.append("noise")
        raise RuntimeError("the disk is on fire")

    with monkeypatch.context() as broken:
        broken.setattr(noise, "every_clip_is_inverted", fail)
        settled.run("one", {LATENTS, INVERTED})
        assert assets(settled.settle()) == ["inverted_latents_every_clip_is_inverted"]
        assert len(tried) == 2
        assert settled.settle() == []
    settled.edit("eta = 0.5", "eta = 0.7")
    assert settled.settle() == []
    settled.run("one", {INVERTED})
    assert set(assets(settled.settle())) == set(AFTER_LATENTS)
