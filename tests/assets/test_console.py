"""What a person reads on the terminal while a run goes on, and when it fails."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.console import console
from onaspr_core.progress import logger


def lines(body: Callable[[dg.AssetExecutionContext], None], captured: pytest.CaptureFixture[str]) -> str:
    """Materialize one asset with this body, and one after it, and return what the terminal showed."""

    @dg.asset
    def first(context: dg.AssetExecutionContext) -> None:
        body(context)

    @dg.asset(deps=[first])
    def second() -> None: ...

    job = dg.Definitions(
        assets=[first, second],
        loggers={"console": console},
        jobs=[dg.define_asset_job("both")],
        executor=dg.in_process_executor,
    ).resolve_job_def("both")
    overrides = {"python_logs": {"managed_python_loggers": ["onaspr"], "python_log_level": "INFO"}}
    with dg.instance_for_test(overrides=overrides) as instance:
        job.execute_in_process(
            run_config={"loggers": {"console": {}}}, instance=instance, raise_on_error=False
        )
    return captured.readouterr().err


def test_a_run_is_a_line_per_asset_and_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    def body(context: dg.AssetExecutionContext) -> None:
        logger.info("clips: 1 of 2")
        context.log.info("2 items")

    shown = [line.split("  ", 1)[1] for line in lines(body, capsys).splitlines()]
    assert shown == ["first …", "first: clips: 1 of 2", "first: 2 items", "second …"]


def test_what_a_person_can_mend_is_a_sentence_without_a_stack_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def body(_: dg.AssetExecutionContext) -> None:
        raise dg.Failure(description="the weights are missing; put them there")

    shown = lines(body, capsys)
    assert "first failed: the weights are missing; put them there\n" in shown
    assert "Traceback" not in shown
    assert "Stack Trace" not in shown
    assert "Steps failed: ['first']" in shown


def test_a_fault_of_the_program_keeps_its_stack_trace(capsys: pytest.CaptureFixture[str]) -> None:
    def body(_: dg.AssetExecutionContext) -> None:
        raise ZeroDivisionError("a bug")

    shown = lines(body, capsys)
    assert "ZeroDivisionError: a bug" in shown
    assert "Stack Trace" in shown


def checked(found: dg.AssetCheckResult, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Materialize an asset and one after it, with this blocking check between them; return the lines."""
    seen = dg.AssetKey("neighbours")

    @dg.asset(key=seen)
    def first() -> None: ...

    @dg.asset(deps=[seen])
    def second() -> None: ...

    @dg.asset_check(asset=seen, blocking=True)
    def every_prompt_has_neighbours() -> dg.AssetCheckResult:
        return found

    job = dg.Definitions(
        assets=[first, second],
        asset_checks=[every_prompt_has_neighbours],
        loggers={"console": console},
        jobs=[dg.define_asset_job("both")],
        executor=dg.in_process_executor,
    ).resolve_job_def("both")
    job.execute_in_process(run_config={"loggers": {"console": {}}}, raise_on_error=False)
    return [line.split("  ", 1)[1] for line in capsys.readouterr().err.splitlines()]


def test_a_check_that_passed_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(dg.AssetCheckResult(passed=True), capsys) == ["neighbours …", "second …"]


def test_a_warning_is_one_sentence_and_what_follows_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    found = dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="look at p1")
    assert checked(found, capsys) == [
        "neighbours …",
        "neighbours: check every_prompt_has_neighbours warns: look at p1",
        "second …",
    ]


def test_a_failed_check_is_one_sentence_without_a_stack_trace(capsys: pytest.CaptureFixture[str]) -> None:
    shown = checked(dg.AssetCheckResult(passed=False, description="p1 has none; mend it"), capsys)
    assert shown[:2] == [
        "neighbours …",
        "neighbours: check every_prompt_has_neighbours failed: p1 has none; mend it",
    ]
    assert not [line for line in shown if "Trace" in line or "DagsterAssetCheckFailedError" in line]
    assert "second …" not in shown


def test_the_last_words_of_a_run_reach_the_terminal_when_dagster_ends_its_tail_too_early(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tail").write_text("#!/bin/sh\n")
    (tmp_path / "tail").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def body(_: dg.AssetExecutionContext) -> None:
        raise dg.Failure(description="the weights are missing")

    assert "first failed: the weights are missing" in lines(body, capfd)
