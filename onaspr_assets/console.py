"""What a run says on a terminal: one line when an asset starts, its progress, what it did, what went wrong.

A check says nothing unless it fails or warns, and then one sentence.

`make demo` chooses it through `console.yaml`. Without it Dagster prints every event, and a stack trace around
every sentence that is meant for a person. The run's log in the UI holds all of it in either case.
"""

import io
import logging
import os
import sys
from typing import TextIO

import dagster as dg

from onaspr_assets.checks import CHECKS

NAME = "console"
SHOWN_AS_THEY_ARE = {
    dg.DagsterEventType.STEP_SKIPPED,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
    dg.DagsterEventType.RUN_CANCELED,
    dg.DagsterEventType.PIPELINE_FAILURE,
}
FAILED_CHECK = "DagsterAssetCheckFailedError"
CHECK_STEPS = frozenset(check.op.name for check in CHECKS)


@dg.logger(None, description="One line for what a person would say aloud; errors as sentences.")
def console(_: dg.InitLoggerContext) -> logging.Logger:
    """Return a logger that writes to standard error."""
    handler = logging.StreamHandler(_terminal())
    handler.setFormatter(_Formatter("{asctime}  {message}", "%H:%M:%S", style="{"))
    handler.addFilter(lambda record: bool(said(record)))
    logger = logging.Logger("onaspr.console", logging.DEBUG)
    logger.addHandler(handler)
    return logger


def said(record: logging.LogRecord) -> str:
    """Return what a log record comes to on a terminal; empty where nobody needs to read it."""
    about = getattr(record, "dagster_meta", {})
    event: dg.DagsterEvent | None = about.get("dagster_event")
    step = about.get("step_key") or ""
    text = str(about.get("orig_message") or record.getMessage())
    if event is None:
        return f"{step}: {text}" if record.levelno >= logging.INFO else ""
    if event.event_type == dg.DagsterEventType.STEP_START:
        return "" if step in CHECK_STEPS else f"{step} …"
    if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return _said_by_check(event.asset_check_evaluation_data)
    if event.event_type == dg.DagsterEventType.STEP_FAILURE:
        failure = event.step_failure_data
        if failure.error and failure.error.cls_name == FAILED_CHECK:
            return ""  # its evaluation has said so
        told = failure.user_failure_data
        reason = told.description if told else failure.error.to_string() if failure.error else text
        return f"{step} failed: {reason}"
    if event.event_type == dg.DagsterEventType.ENGINE_EVENT and "blocked by limit" in text:
        return f"{step}: waiting: another run holds the pool's slot ({text})"
    return text if event.event_type in SHOWN_AS_THEY_ARE else ""


def _said_by_check(found: dg.AssetCheckEvaluation) -> str:
    if found.passed:
        return ""
    verb = "warns" if found.severity == dg.AssetCheckSeverity.WARN else "failed"
    return f"{found.asset_key.to_user_string()}: check {found.check_name} {verb}: {found.description}"


def _terminal() -> TextIO:
    """Standard error as it is before steps run.

    While they run, Dagster sends it to a file and lets `tail` copy that to the terminal; `tail` is ended with
    the last step, and on a busy machine before it has copied the last lines: those that say why it failed.
    """
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8", errors="replace")
    except io.UnsupportedOperation:
        return sys.stderr


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return f"{record.asctime}  {said(record)}"
