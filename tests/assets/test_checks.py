"""Checks as Dagster sees them: where they stand, what they say, and what a failed one keeps from running."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.build import build_defs
from onaspr_assets.checks import CHECKS, result_of
from onaspr_core import prompts
from onaspr_core.checks.finding import Finding
from onaspr_core.compute import Outcome
from onaspr_core.errors import StoreError, UserError
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

WARNINGS = {
    ("pool_clips", "few_videos_are_unusable"),
    ("caption_embeddings", "the_index_finds_the_nearest"),
    ("caption_embeddings", "no_benchmark_is_borrowed_from"),
    ("inverted_latents", "noise_is_nearly_gaussian"),
    ("rewritten_prompts", "few_originals_were_kept"),
    ("benchmark_videos", "the_real_side_is_complete"),
    ("scores", "no_score_moved_far"),
}


def test_checks_that_save_hours_block_and_the_others_warn() -> None:
    graph = build_defs().resolve_asset_graph()
    stands = {(key.asset_key.to_user_string(), key.name): graph.get(key) for key in graph.asset_check_keys}
    assert {where for where, node in stands.items() if not node.blocking} == WARNINGS
    assert {asset for asset, _ in stands.keys() - WARNINGS} == {
        "caption_embeddings",
        "prompts",
        "neighbours",
        "inverted_latents",
        "rewritten_prompts",
        "baseline_videos",
        "ona_videos",
        "spr_videos",
        "ona_spr_videos",
        "reference_features",
    }
    for (asset, _), node in stands.items():
        assert node.partitions_def == graph.get(dg.AssetKey(asset)).partitions_def
        assert (node.description or "").endswith(".")


def test_checks_wait_for_no_gpu() -> None:
    assert {check.op.pool for check in CHECKS} == {None}


def test_a_finding_is_shown_with_its_figures_and_the_first_cases() -> None:
    finding = Finding(
        False, "bad", {"n": 2, "by_pool": {"a": 0.5}}, ("which",), [(f"case {i}",) for i in range(60)]
    )
    shown = result_of(finding, blocking=False)
    assert (shown.passed, shown.severity, shown.description) == (False, dg.AssetCheckSeverity.WARN, "bad")
    assert shown.metadata["n"].value == 2
    assert shown.metadata["by_pool"].value == {"a": 0.5}
    cases = str(shown.metadata["cases"].value)
    assert "case 49" in cases
    assert "case 50" not in cases
    assert result_of(finding, blocking=True).severity == dg.AssetCheckSeverity.ERROR
    assert result_of(replace(finding, passed=True), blocking=True).passed


def run(file: Path, *assets: str) -> dg.ExecuteInProcessResult:
    """Materialize assets of the experiment `one`, with their checks."""
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("experiments", ["one", "two"])
    job = build_defs(file).resolve_implicit_global_asset_job_def()
    return job.get_subset(asset_selection={dg.AssetKey(name) for name in assets}).execute_in_process(
        instance=instance, partition_key="one", raise_on_error=False
    )


def steps(result: dg.ExecuteInProcessResult, kind: dg.DagsterEventType) -> list[str | None]:
    return [event.step_key for event in result.all_events if event.event_type == kind]


def test_a_check_runs_with_its_asset_and_says_that_all_is_well(settings_file: Path) -> None:
    result = run(settings_file, "prompts")
    (found,) = result.get_asset_check_evaluations()
    assert found.passed
    assert found.description == "all 2 prompts stand in the catalog as in the prompt file or benchmark"
    assert found.metadata["in_the_catalog"].value == 2


def test_in_one_run_nothing_downstream_of_a_failed_check_is_made(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = prompts.ingest_prompts

    def lose_one(workspace: Workspace, e: Experiment) -> Outcome:
        outcome = ingest(workspace, e)
        with workspace.catalog.write() as connection:
            connection.execute("delete from prompts where id = '00002'")
        return outcome

    monkeypatch.setattr(prompts, "ingest_prompts", lose_one)
    result = run(settings_file, "prompts", "baseline_videos")
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "1 of 2 prompts" in str(found.description)
    assert "00002" in str(found.metadata["cases"].value)
    assert steps(result, dg.DagsterEventType.STEP_SUCCESS) == ["prompts"]
    assert steps(result, dg.DagsterEventType.STEP_FAILURE) == ["prompts_every_prompt_is_in_the_catalog"]


@pytest.mark.parametrize("kind", [UserError, StoreError])
def test_what_a_person_can_mend_is_a_failed_check_and_no_crash(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def refuse(workspace: Workspace, e: Experiment) -> None:
        raise kind(f"prompt file {e.prompts} cannot be read; put it there")

    monkeypatch.setattr("onaspr_core.checks.retrieval.experiment_prompts", refuse)
    result = run(settings_file, "prompts")
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert str(found.description).endswith("cannot be read; put it there")
