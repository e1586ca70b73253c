from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.build import build_defs
from onaspr_assets.metadata import metadata_of, summary
from onaspr_core.compute import Failure, Outcome, Preview


def test_every_materialization_counts_its_items() -> None:
    outcome = Outcome(
        "v", total=5, computed=2, reused=2, failures=(Failure("a|b", "bad\nfile"),), seconds=3.0
    )
    shown = metadata_of(outcome)
    assert [shown[f"items_{name}"] for name in ("total", "computed", "reused", "failed")] == [5, 2, 2, 1]
    assert shown["seconds_per_item"] == 1.5
    assert shown["models_loaded"] == "none"
    assert "| a\\|b | bad file |" in shown["failures"].value


def test_facts_and_previews_are_shown() -> None:
    facts = {"eta": float("inf"), "backbone": "m", "report_path": "/r/index.html", "reasons": {"empty": 2}}
    outcome = Outcome(
        "v", 1, 1, 0, facts=facts, models=("unet",), preview=Preview(markdown="|a|", png=b"png")
    )
    shown = metadata_of(outcome)
    assert shown["eta"] == "inf"
    assert isinstance(shown["report_path"], dg.PathMetadataValue)
    assert shown["reasons"].value == {"empty": 2}
    assert shown["table"].value == "|a|"
    assert shown["picture"].value.startswith("![preview](data:image/png;base64,")
    assert shown["models_loaded"] == "unet"


def test_the_summary_says_when_no_model_was_loaded() -> None:
    assert summary(Outcome("v", 4, 0, 4)) == "4 items: 0 computed, 4 reused; no model loaded"
    assert "loaded unet" in summary(Outcome("v", 4, 4, 0, models=("unet",)))


def materialize_prompts(file: Path, partition: str) -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("experiments", [partition])
    job = build_defs(file).resolve_implicit_global_asset_job_def()
    return job.get_subset(asset_selection={dg.AssetKey("prompts")}).execute_in_process(
        instance=instance, partition_key=partition, raise_on_error=False
    )


def test_the_data_version_is_the_content_of_the_items(settings_file: Path) -> None:
    tags = []
    for _ in range(2):
        result = materialize_prompts(settings_file, "one")
        (materialization,) = result.asset_materializations_for_node("prompts")
        tags.append(materialization.tags or {})
    assert tags[0]["dagster/data_version"] == tags[1]["dagster/data_version"]
    (settings_file.parent / "prompts.txt").write_text("a cat\na bird\n")
    (changed,) = materialize_prompts(settings_file, "one").asset_materializations_for_node("prompts")
    assert (changed.tags or {})["dagster/data_version"] != tags[0]["dagster/data_version"]
    assert changed.metadata["items_computed"].value == 1


@pytest.mark.parametrize(
    ("partition", "told"), [("gone", "no experiment 'gone' in the settings; allowed: one, two")]
)
def test_a_partition_that_the_settings_no_longer_name_is_a_sentence(
    settings_file: Path, partition: str, told: str
) -> None:
    result = materialize_prompts(settings_file, partition)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert told in str(failure.step_failure_data.user_failure_data)
    assert not (settings_file.parent / "store").exists()
