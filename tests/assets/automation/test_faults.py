"""Clocks that are set, files that are read-only or half-written: nothing is made for it."""

import datetime
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from onaspr_assets.partitions import EXPERIMENTS
from onaspr_core.errors import UserError
from tests.assets.automation.platform import Platform, Ran, assets
from tests.assets.automation.test_contract import AFTER_VIDEOS
from tests.assets.automation.test_schedules import requests

OF_ETA = sorted(["ona_videos", "ona_spr_videos", *AFTER_VIDEOS])
VIDEOS = dg.AssetKey("ona_videos")
A_DAY = 86_400.0


@contextmanager
def clock_set_by(seconds: float) -> Iterator[None]:
    """Let the clocks that Dagster and this project read show another time of day."""
    now = time.time

    def utc() -> datetime.datetime:
        return datetime.datetime.fromtimestamp(now() + seconds, datetime.UTC)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + seconds)
        patch.setattr("dagster._time._mockable_get_current_datetime", utc)
        yield


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Let this process live in another time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", name)
        time.tzset()
        yield
    time.tzset()


def test_a_clock_that_goes_back_makes_nothing_and_loses_no_change(settled: Platform) -> None:
    with clock_set_by(-A_DAY):
        assert settled.look() == 0
        assert settled.settle() == []
        assert requests(settled, "backstop") == []
        settled.edit("eta = 0.5", "eta = 0.7")
        assert assets(settled.settle()) == OF_ETA
        assert requests(settled, "backstop") == []
    assert settled.settle() == []
    assert requests(settled, "backstop") == []


@pytest.mark.parametrize("zone", ["UTC-14", "UTC+11"])
def test_another_time_zone_makes_nothing(settled: Platform, zone: str) -> None:
    with time_zone(zone):
        assert settled.look() == 0
        assert settled.settle() == []
        assert requests(settled, "backstop") == []


@contextmanager
def read_only(file: Path) -> Iterator[None]:
    """Let nobody write a file, not even the administrator."""
    for words in (["--bind", file], ["-o", "remount,bind,ro"]):
        done = subprocess.run(["mount", *words, file], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"a file cannot be mounted here: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", file], check=True)


def test_a_settings_file_that_is_read_only_is_only_read(settled: Platform) -> None:
    file = settled.folder / "settings.toml"
    with read_only(file):
        with pytest.raises(OSError, match="Read-only"):
            file.open("a")
        assert settled.settle() == []
        assert settled.run("one", {VIDEOS}) == [Ran("ona_videos", "one", 3, 0)]


def test_a_settings_file_that_is_read_half_written_is_looked_at_again(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, last = settled.folder / "settings.toml", "neighbours = 2\n"
    whole = f"{settled.settings}[experiments.one.inversion]\n{last}"
    settled.save(whole)
    assert settled.look() > 0
    file.write_text(whole.removesuffix(last))
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: file.write_text(whole))
        assert settled.look() == 0
    file.write_text(whole[: -len(last) // 2])
    with pytest.raises(UserError, match="not valid TOML"):
        settled.look()
    file.write_text(whole)
    assert settled.look() == 0


def test_a_list_of_captions_that_is_read_half_written_is_looked_at_again(
    settled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settled.folder / "captions.csv"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda _: file.write_text(whole))
        assert settled.look() == 0
    assert settled.look() == 0


def test_an_experiment_that_was_gone_for_a_while_is_not_made_again(settled: Platform) -> None:
    settled.instance.delete_dynamic_partition(EXPERIMENTS, "one")
    settled.evaluate()
    assert settled.settle() == []
    assert settled.instance.get_dynamic_partitions(EXPERIMENTS) == ["one"]
