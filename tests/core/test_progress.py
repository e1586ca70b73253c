"""What progress lines say of items, time and what is left."""

import logging
from types import SimpleNamespace

import pytest

from onaspr_core import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, to be set by a test."""
    now = [100.0]
    monkeypatch.setattr("onaspr_core.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_lines_come_every_five_seconds_and_at_the_end(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "onaspr")
    with progress.track("clips", 4) as advance:
        for _ in range(4):
            clock[0] += 3
            advance(1)
    assert caplog.messages == ["clips: 2 of 4, 3 s each, about 6 s left", "clips: 4 of 4, 3 s each"]


def test_what_an_earlier_run_has_done_counts_for_no_time(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "onaspr")
    with progress.track("steps", 100, before=90) as advance:
        clock[0] += 6
        advance(2)
    assert caplog.messages == ["steps: 92 of 100, 3 s each, about 24 s left"]
