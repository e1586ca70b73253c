"""What a run says of itself: why it ran; and what a trial leaves behind, which is nothing but its videos."""

from pathlib import Path

import dagster as dg
import pytest

from onaspr_core import generation
from tests.assets.automation.platform import Platform, Ran

VIDEOS = dg.AssetKey("ona_videos")
OF_SCORES = {
    *("prompts", "neighbours", "inverted_latents", "rewritten_prompts", "benchmark_videos"),
    *("baseline_videos", "ona_videos", "spr_videos", "ona_spr_videos", "reference_features", "scores"),
}


def why(platform: Platform, key: dg.AssetKey) -> str:
    event = platform.instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return str(event.asset_materialization.metadata["what_moved"].value)


def test_a_materialization_lists_what_moved_with_old_and_new_values(
    first: list[Ran], settled: Platform
) -> None:
    assert first
    assert why(settled, VIDEOS) == "made for the first time"
    settled.edit("eta = 0.5", "eta = inf")
    settled.settle()
    assert "| params/eta | eta 0.5 | eta inf |" in why(settled, VIDEOS)
    assert why(settled, VIDEOS).count("\n") == 2, "a heading and one row"
    scores = why(settled, dg.AssetKey("scores"))
    assert "ona\\_videos" in scores
    assert "baseline" not in scores
    settled.run("one", {VIDEOS})
    assert why(settled, VIDEOS) == "nothing moved since it was last made"


def test_a_table_of_experiments_moves_exactly_when_one_of_them_does(settled: Platform) -> None:
    table, scores = dg.AssetKey("table_1"), dg.AssetKey("scores")
    graph = settled.defs.resolve_asset_graph()
    start = settled.settings.index("[experiments.one]")
    second = settled.settings[start:].replace("experiments.one", "experiments.two")
    settled.save(settled.settings + second + '[studies]\nexperiments = ["one"]\n')
    settled.look()
    settled.run("one", {table})
    assert why(settled, table) == "made for the first time"
    settled.run("two", {table})
    assert why(settled, table) == "nothing moved since it was last made", "whichever partition is named"
    settled.run("two", {key for key in graph.materializable_asset_keys if key.path[-1] in OF_SCORES})
    settled.run(None, {table})
    assert "| scores |" in why(settled, table), "those of a new experiment"
    settled.save(settled.settings.replace("bootstrap_samples = 20", "bootstrap_samples = 40", 1))
    settled.look()
    settled.run("two", {scores})
    settled.run("two", {table})
    assert why(settled, table) == "nothing moved since it was last made", "nothing made anew"
    settled.run("one", {scores})
    settled.run("two", {table})
    assert "| scores |" in why(settled, table)
    settled.edit('[studies]\nexperiments = ["one"]', '[studies]\nexperiments = ["two"]')
    settled.look()
    settled.run(None, {table})
    assert "params/studies" in why(settled, table)
    assert "| scores |" not in why(settled, table)


def test_a_run_notes_the_settings_that_it_used_and_not_those_observed_meanwhile(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = generation._make_batch

    def make_while_eta_changes(*words: object) -> object:
        if "eta = 0.7" in settled.settings:
            settled.edit("eta = 0.7", "eta = 0.9")
            settled.look()
        return make(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(generation, "_make_batch", make_while_eta_changes)
    settled.edit("eta = 0.5", "eta = 0.7")
    settled.look()
    settled.run("one", {VIDEOS, dg.AssetKey("ona_spr_videos")})
    for key in (VIDEOS, dg.AssetKey("ona_spr_videos")):
        assert "| params/eta | eta 0.5 | eta 0.7 |" in why(settled, key)
    settled.run("one", {VIDEOS})
    assert "| params/eta | eta 0.7 | eta 0.9 |" in why(settled, VIDEOS)


def trial(platform: Platform, config: dict[str, object], *keys: dg.AssetKey) -> dg.ExecuteInProcessResult:
    job = platform.defs.resolve_implicit_global_asset_job_def()
    return job.get_subset(asset_selection={VIDEOS, *keys}).execute_in_process(
        instance=platform.instance,
        partition_key="one",
        raise_on_error=False,
        run_config={"ops": {"ona_videos": {"config": config}}},
    )


def test_a_trial_makes_videos_of_its_own_and_never_the_experiments_result(settled: Platform) -> None:
    before = settled.instance.get_latest_materialization_event(VIDEOS)
    result = trial(settled, {"eta": 0.9}, dg.AssetKey("scores"))
    assert result.success
    assert result.get_asset_materialization_events() == [], "nor is what follows made"
    (observed,) = result.get_asset_observation_events()
    metadata = observed.asset_observation_data.asset_observation.metadata
    assert metadata["items_computed"].value == 3
    assert metadata["eta"].value == 0.9
    folder = Path(str(metadata["videos_path"].value))
    assert folder.name == "ona eta=0.9"
    made = sorted(folder.glob("*.mp4"))
    assert made[0].name == "0001 a-red-cat-sleeps.mp4"
    assert len(made) == 3
    assert settled.instance.get_latest_materialization_event(VIDEOS) == before
    assert settled.settle() == [], "the automation sees no change in it"
    settled.edit("eta = 0.5", "eta = 0.9")
    ran = {one.asset: one.computed for one in settled.settle()}
    assert ran["ona_videos"] == 0, "and finds its videos when the experiment comes to the same value"


def test_a_trial_with_a_value_that_is_not_allowed_says_so(settled: Platform) -> None:
    result = trial(settled, {"eta": -1.0})
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "eta: input should be greater than or equal to 0, got -1.0" in str(
        failure.step_failure_data.user_failure_data
    )
