from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.build import build_defs
from onaspr_assets.params import observations
from onaspr_core.parameters import versions
from onaspr_core.settings import load_settings


def moved(file: Path, edit: Callable[[str], str]) -> set[str]:
    """Names of the settings whose version an edit of the file moves."""
    before = versions(load_settings(file))
    file.write_text(edit(file.read_text()))
    after = versions(load_settings(file))
    return {where for where in after if before.get(where) != after[where]}


def test_eta_moves_alone(settings_file: Path) -> None:
    assert moved(settings_file, lambda text: text.replace("eta = 0.5", "eta = 0.6")) == {"eta|one"}


def test_equal_values_move_nothing(settings_file: Path) -> None:
    assert moved(settings_file, lambda text: text.replace("eta = 0.5", "eta = 0.50 # the same")) == set()


def test_steps_move_sampling_and_inversion_but_guidance_moves_sampling_alone(settings_file: Path) -> None:
    add = "gamma = 0.2\nsampling = {{ steps = {}, guidance_scale = {} }}"
    assert moved(settings_file, lambda text: text.replace("gamma = 0.2", add.format(50, 5.0))) == {
        "sampling|one",
        "sampling|two",
    }
    assert moved(settings_file, lambda text: text.replace("steps = 50", "steps = 25")) == {
        f"{name}|{experiment}" for name in ("sampling", "inversion") for experiment in ("one", "two")
    }


def test_batch_sizes_move_nothing(settings_file: Path) -> None:
    add = "gamma = 0.2\nsampling = { batch_size = 4 }"
    assert moved(settings_file, lambda text: text.replace("gamma = 0.2", add)) == set()


def test_the_choice_of_a_pool_moves_alone(settings_file: Path) -> None:
    settings_file.write_text(
        settings_file.read_text() + '[pools.q]\nformat = "webvid"\npath = "pool.csv"\nvideos = "."\n'
    )
    assert moved(settings_file, lambda text: text.replace('pool = "p"', 'pool = "q"', 1)) == {"source|one"}


def test_another_row_in_a_file_moves_the_setting_that_names_it(settings_file: Path) -> None:
    def add_row(name: str) -> set[str]:
        before = versions(load_settings(settings_file))
        with (settings_file.parent / name).open("a") as file:
            file.write("one more\n")
        after = versions(load_settings(settings_file))
        return {where for where in after if before[where] != after[where]}

    assert add_row("prompts.txt") == {"prompts|one", "prompts|two"}
    assert add_row("pool.csv") == {"pool"}
    text = settings_file.read_text()
    settings_file.write_text(text.replace("eta = 1.0", 'eta = 1.0\ninversion.scope = "pool"'))
    assert add_row("pool.csv") == {"pool", "inversion|two"}


@pytest.mark.parametrize(
    "change",
    ["rewriter = { timeout_seconds = 5.0 }", "evaluation.batch_size = 3", "inversion = { batch_size = 4 }"],
)
def test_what_changes_no_result_moves_nothing(settings_file: Path, change: str) -> None:
    assert (
        moved(settings_file, lambda text: text.replace("gamma = 0.2", f"gamma = 0.2\n{change}", 1)) == set()
    )


def test_the_device_moves_nothing_and_the_precision_moves_the_backbone(settings_file: Path) -> None:
    path = 'path = "weights"'
    assert moved(settings_file, lambda text: text.replace(path, f'{path}\ndevice = "cpu"')) == set()
    assert moved(settings_file, lambda text: text.replace(path, f'{path}\ndtype = "float16"')) == {
        "backbone|one",
        "backbone|two",
    }


def test_a_new_experiment_brings_its_own_settings_and_moves_no_other(settings_file: Path) -> None:
    def add(text: str) -> str:
        start = text.index("[experiments.two]")
        return text + text[start:].replace("two", "three")

    assert {where.partition("|")[2] for where in moved(settings_file, add)} == {"three"}


def run_observe(file: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_defs(file).resolve_job_def("observe_settings")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def test_observing_adds_experiments_and_reports_only_what_moved(settings_file: Path) -> None:
    instance = dg.DagsterInstance.ephemeral()
    first = run_observe(settings_file, instance)
    assert set(instance.get_dynamic_partitions("experiments")) == {"one", "two"}
    assert len([e for e in first.all_events if e.is_asset_observation]) == 2 + 2 * 10
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
    (one,) = observations({"eta|e": "v2", "pool": "v1"}, {"eta|e": "v1", "pool": "v1"})
    assert (one.asset_key, one.partition) == (dg.AssetKey(["params", "eta"]), "e")
    assert one.data_version == "v2"


@pytest.mark.parametrize("where", ["pool", "eta|one"])
def test_versions_name_shared_settings_once_and_others_by_experiment(settings_file: Path, where: str) -> None:
    assert where in versions(load_settings(settings_file))
