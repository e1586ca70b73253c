from pathlib import Path

import dagster as dg

from onaspr_assets.build import build_defs
from onaspr_assets.params import observations
from onaspr_core.parameters import PER_EXPERIMENT, SHARED, version


def run_observe(file: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_defs(file).resolve_job_def("observe_settings")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_observing_adds_experiments_and_reports_only_what_moved(settings_file: Path) -> None:
    instance = dg.DagsterInstance.ephemeral()
    first = run_observe(settings_file, instance)
    assert set(instance.get_dynamic_partitions("experiments")) == {"one", "two"}
    assert (
        len([e for e in first.all_events if e.is_asset_observation])
        == len(SHARED) + 2 * len(PER_EXPERIMENT)
        == 3 + 2 * 10
    )
    second = run_observe(settings_file, instance)
    assert not [e for e in second.all_events if e.is_asset_observation]
    settings_file.write_text(settings_file.read_text().replace("eta = 0.5", "eta = 0.7"))
    third = run_observe(settings_file, instance)
    (event,) = [e for e in third.all_events if e.is_asset_observation]
    assert event.asset_key == dg.AssetKey(["params", "eta"])
    assert event.partition == "one"


def test_a_settings_file_with_mistakes_observes_nothing_and_says_why(settings_file: Path) -> None:
    instance = dg.DagsterInstance.ephemeral()
    settings_file.write_text(settings_file.read_text().replace("eta = 0.5", "eta = -5"))
    result = run_observe(settings_file, instance)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "experiments.one.eta" in str(failure.step_failure_data.user_failure_data)
    assert instance.get_dynamic_partitions("experiments") == []


def test_observations_carry_the_version_and_the_partition() -> None:
    before, now, pool = {"eta": 0.5}, {"eta": float("inf")}, {"p": {"size": 3}}
    seen = {"eta|e": version(before), "pool": version(pool)}
    (one,) = observations({"eta|e": now, "pool": pool}, seen)
    assert (one.asset_key, one.partition) == (dg.AssetKey(["params", "eta"]), "e")
    assert one.data_version == version(now) != version(before)
    assert one.metadata["made_of"].value == {"eta": "inf"}
