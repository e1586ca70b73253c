"""The clock's part: each schedule is asked what it would run, and what it asks for is run."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from onaspr_core import generation
from onaspr_core.inversion import clip_items
from onaspr_core.rewriting import stage
from onaspr_core.rewriting.stored import Rewrite
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace
from tests.assets.automation.platform import Key, Platform, Ran, assets, bring_back, computed
from tests.small_project import UNUSED, write_video

SHARED = ["caption_embeddings", "pool_clips", "pool_manifest"]
AFTER_SCORES = ["figures", "gallery", "tables"]
EVALUATION = ["benchmark_videos", "figures", "gallery", "reference_features", "scores", "tables"]


def requests(platform: Platform, name: str) -> list[dg.RunRequest]:
    repository = platform.defs.get_repository_def()
    context = dg.build_schedule_context(
        instance=platform.instance,
        scheduled_execution_time=datetime(2026, 1, 4, 6, tzinfo=UTC),
        repository_def=repository,
    )
    return list(repository.get_schedule_def(name).evaluate_tick(context).run_requests or ())


def run_requested(platform: Platform, name: str) -> list[Ran]:
    repository = platform.defs.get_repository_def()
    selected = repository.get_job(repository.get_schedule_def(name).job_name).asset_layer.selected_asset_keys
    ran: list[Ran] = []
    for request in requests(platform, name):
        keys: set[Key] = set(request.asset_selection or selected)
        if request.partition_key is None:
            assert keys <= repository.asset_graph.unpartitioned_asset_keys
        ran += platform.run(request.partition_key, keys)
    return ran


def test_all_three_are_on_by_default(template: Platform) -> None:
    repository = template.defs.get_repository_def()
    for name in ("nightly_pool", "weekly_evaluation", "backstop"):
        schedule = repository.get_schedule_def(name)
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        assert schedule.description


def test_the_nightly_look_counts_new_changed_and_vanished_pairs(first: list[Ran], settled: Platform) -> None:
    (same,) = run_requested(settled, "nightly_pool")
    assert (same.asset, same.computed) == ("pool_manifest", 0)
    write_video(settled.folder / "videos" / "dog.mp4", 77)
    write_video(settled.folder / "videos" / "bus.mp4", 9)
    settled.write_captions(bus="empty buses wait under heavy fog", **{UNUSED: None})
    run_requested(settled, "nightly_pool")
    event = settled.instance.get_latest_materialization_event(dg.AssetKey("pool_manifest"))
    assert event is not None
    assert event.asset_materialization is not None
    counts = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert (counts["pairs_new"], counts["pairs_changed"], counts["pairs_vanished"]) == (1, 1, 1)


def test_the_weekly_evaluation_scores_every_experiment_from_what_is_there(settled: Platform) -> None:
    ran = run_requested(settled, "weekly_evaluation")
    assert assets(ran) == EVALUATION
    assert {one.partition for one in ran} == {"one"}
    assert computed(run_requested(settled, "weekly_evaluation")) == {}


def test_the_backstop_asks_for_nothing_where_nothing_is_stale(settled: Platform) -> None:
    assert requests(settled, "backstop") == []


def test_the_backstop_asks_for_what_is_stale_and_what_follows_from_it(settled: Platform) -> None:
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.look()
    ran = run_requested(settled, "backstop")
    assert assets(ran) == sorted(["ona_videos", "ona_spr_videos", "scores", "tables", "figures", "gallery"])
    assert computed(ran)["ona_videos"] == 3
    assert assets(run_requested(settled, "backstop")) == ["report"]
    assert requests(settled, "backstop") == []


def test_the_backstop_asks_for_the_pool_before_the_experiments(settled: Platform) -> None:
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.write_captions(dog="a pair of dogs run and bark")
    settled.look()
    assert assets(run_requested(settled, "backstop")) == SHARED
    second = assets(run_requested(settled, "backstop"))
    assert {"neighbours", "ona_videos", "scores"} <= set(second)
    assert "baseline_videos" not in second
    assert assets(run_requested(settled, "backstop")) == ["report"]
    assert requests(settled, "backstop") == []


def test_the_backstop_leaves_alone_what_failed_last(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the machine is on fire")

    with monkeypatch.context() as broken:
        broken.setattr(generation, "_make_batch", fail)
        settled.edit("eta = 0.5", "eta = 0.7")
        settled.look()
        run_requested(settled, "backstop")
    assert requests(settled, "backstop") == [], "it waits for a change or a person"


def test_the_backstop_asks_for_what_no_run_came_to(settled: Platform) -> None:
    videos = dg.AssetKey("ona_videos")
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.look()
    job = settled.defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={videos})
    for _ in range(2):
        run = settled.instance.create_run_for_job(
            job, tags={"dagster/partition": "one"}, asset_selection=frozenset({videos})
        )
        settled.instance.report_run_failed(run, "it did not start in time")
    (asked,) = requests(settled, "backstop")
    assert videos in (asked.asset_selection or ())


def test_the_clock_asks_for_no_study(settled: Platform) -> None:
    table, sweep = dg.AssetKey("table_1"), dg.AssetKey("figure_4")
    settled.save(settled.settings + '[studies]\nexperiments = ["one"]\neta = [0.0, 0.5]\n')
    settled.look()
    assert {one.asset for one in settled.run("one", {table, sweep}) if one.total > 0} == {
        "table_1",
        "figure_4",
    }
    settled.edit("eta = 0.5\n", "eta = 0.7\n")
    settled.edit("eta = [0.0, 0.5]", "eta = [0.0, 0.7]")
    settled.look()
    graph = settled.defs.resolve_asset_graph()
    for schedule in ("backstop", "weekly_evaluation"):
        asked = {key for one in requests(settled, schedule) for key in one.asset_selection or ()}
        assert dg.AssetKey("scores") in asked
        assert not {key for key in asked if graph.get(key).group_name == "studies"}


@pytest.mark.parametrize("schedule", ["backstop", "weekly_evaluation"])
def test_what_a_check_holds_back_the_clock_holds_back_too(settled: Platform, schedule: str) -> None:
    inverted = dg.AssetCheckKey(dg.AssetKey("inverted_latents"), "every_clip_is_inverted")
    workspace = Workspace(load_settings(settled.folder / "settings.toml"))
    key = clip_items(workspace, workspace.settings.experiment("one"))[0].key
    payload = Path(workspace.store.url(INVERTED_LATENT, key))
    whole = payload.read_bytes()
    payload.write_bytes(whole[:-1] + b"x")
    settled.run("one", {inverted})
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.look()
    held = {"ona_videos", "ona_spr_videos", "scores", *AFTER_SCORES}
    asked = [key.to_user_string() for one in requests(settled, schedule) for key in one.asset_selection or ()]
    assert not held & set(asked)
    bring_back(payload, whole)
    settled.run("one", {inverted})
    asked = [key.to_user_string() for one in requests(settled, schedule) for key in one.asset_selection or ()]
    assert {"scores", *AFTER_SCORES} <= set(asked)


def test_the_weekly_evaluation_leaves_out_an_experiment_that_has_no_videos(settled: Platform) -> None:
    settled.instance.add_dynamic_partitions("experiments", ["new"])
    assert [one.partition_key for one in requests(settled, "weekly_evaluation")] == ["one"]


def test_the_backstop_tries_again_what_failed_for_a_reason_that_may_pass(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled.edit("references.k = 2", "references.k = 1")
    answer = stage.rewrite_one
    with monkeypatch.context() as down:

        def no_answer(*words: Any) -> tuple[Rewrite, str | None]:
            rewrite, trouble = answer(*words)
            return rewrite, "the endpoint is down" if words[3].startswith("a red cat") else trouble

        down.setattr(stage, "rewrite_one", no_answer)
        settled.settle()
        (again,) = requests(settled, "backstop")
        assert again.asset_selection == [dg.AssetKey("rewritten_prompts")]
    (ran,) = run_requested(settled, "backstop")
    assert (ran.asset, ran.computed) == ("rewritten_prompts", 1)
    assert "spr_videos" in assets(settled.settle()), "what came of it is the automation's"
    assert requests(settled, "backstop") == []


def test_the_backstop_waits_while_a_run_is_going(settled: Platform) -> None:
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.look()
    job = settled.defs.resolve_implicit_global_asset_job_def()
    run = settled.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert requests(settled, "backstop") == []
    settled.instance.report_run_canceled(run)
    assert requests(settled, "backstop") != []
