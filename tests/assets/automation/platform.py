"""A small project whose daemon is played by hand: look at the settings, evaluate, run, until all is quiet."""

import shutil
import unittest.mock
import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dagster as dg

from onaspr_assets import sensors
from onaspr_assets.build import build_defs
from onaspr_assets.console import FAILED_CHECK
from tests.small_project import CAPTIONS, write_captions, write_world

Key = dg.AssetKey | dg.AssetCheckKey


@dataclass(frozen=True)
class Ran:
    """What one asset did in one run."""

    asset: str
    partition: str | None
    total: int
    computed: int


@dataclass(frozen=True)
class Checked:
    """What one check found in one run."""

    asset: str
    check: str
    partition: str | None
    passed: bool


@dataclass
class Platform:
    """The project's folder, with a Dagster home in it, and the cursor of the automation.

    `checked` is what checks found, run after run.
    """

    folder: Path
    cursor: object = None
    checked: list[Checked] = field(default_factory=list)
    captions: dict[str, str] = field(default_factory=lambda: dict(CAPTIONS))

    def __post_init__(self) -> None:
        home = self.folder / "home"
        if not home.exists():
            home.mkdir(parents=True)
            (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
            write_world(self.folder)
        self.instance = dg.DagsterInstance.from_config(str(home))
        self.settings = (self.folder / "settings.toml").read_text()
        self.defs = build_defs(self.folder / "settings.toml")

    def copy_to(self, folder: Path) -> "Platform":
        """The same project, with all that was made, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Platform(folder, self.cursor, list(self.checked))

    def save(self, settings: str) -> None:
        """Save the settings file."""
        self.settings = settings
        (self.folder / "settings.toml").write_text(settings)

    def edit(self, old: str, new: str) -> None:
        """Replace a text in the settings file that must be there."""
        assert old in self.settings, old
        self.save(self.settings.replace(old, new))

    def write_captions(self, **changes: str | None) -> None:
        """Write the pool's list with some captions changed, added, or (None) left out."""
        for name, caption in changes.items():
            if caption is None:
                del self.captions[name]
            else:
                self.captions[name] = caption
        write_captions(self.folder, self.captions)

    def look(self) -> int:
        """One tick of the settings sensor; returns how many observations it made."""
        built = dg.build_sensor_context(
            instance=self.instance, definitions=self.defs, resources=self.defs.resources
        )
        with built as context, unittest.mock.patch.object(sensors, "SECONDS_OF_REST", 0.0):
            result = sensors.settings_sensor(context)
        if isinstance(result, dg.SkipReason):
            return 0
        assert isinstance(result, dg.SensorResult)
        for request in result.dynamic_partitions_requests or ():
            name = request.partitions_def_name
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(name, request.partition_keys)
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(name, key)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return len(result.asset_events)

    def evaluate(self) -> dict[str | None, set[Key]]:
        """One tick of the automation: which assets and checks it asks for, by partition."""
        # The tester asks for the partitions thousands of times a tick; the daemon remembers them.
        partitions = tuple(self.instance.get_dynamic_partitions("experiments"))
        with (
            unittest.mock.patch.object(
                self.instance, "get_dynamic_partitions", lambda *_, **__: list(partitions)
            ),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", dg.BetaWarning)
            result = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)  # type: ignore[arg-type]
        self.cursor = result.cursor
        asked: dict[str | None, set[Key]] = {}
        for one in result.results:
            # The tester's own `get_requested_partitions` knows nothing of checks.
            for partition in _partitions(one.true_subset):
                asked.setdefault(partition, set()).add(one.key)
        return asked

    def run(self, partition: str | None, keys: set[Key]) -> list[Ran]:
        """One run, as the daemon would launch it: with the checks that were asked for, and no others."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        checks = {key for key in keys if isinstance(key, dg.AssetCheckKey)}
        assets = {key for key in keys if isinstance(key, dg.AssetKey)}
        result = job.get_subset(
            asset_selection=assets, asset_check_selection=checks or None
        ).execute_in_process(instance=self.instance, partition_key=partition, raise_on_error=False)
        for one in result.get_asset_check_evaluations():
            name = one.asset_key.to_user_string()
            self.checked.append(Checked(name, one.check_name, partition, one.passed))
        done = []
        for event in result.get_asset_materialization_events():
            made = event.materialization
            counts = {name: made.metadata[f"items_{name}"].value for name in ("total", "computed")}
            done.append(Ran(made.asset_key.to_user_string(), partition, **counts))  # type: ignore[arg-type]
        failed = [event.step_key for event in result.all_node_events if _broke(event)]
        return done + [Ran(str(key), partition, -1, -1) for key in failed]

    def settle(self) -> list[Ran]:
        """Tick until one asks for nothing; return what ran."""
        ran: list[Ran] = []
        for _ in range(60):
            self.look()
            asked = self.evaluate()
            if not asked:
                return ran
            for partition, keys in asked.items():
                ran += self.run(partition, keys)
        raise AssertionError(f"still asking after 60 ticks: {ran[-10:]}")


def _partitions(subset: Any) -> Collection[str | None]:
    """The partitions of what was asked for; without partitions, None where it was asked for."""
    if subset.is_partitioned:
        return cast(set[str | None], subset.expensively_compute_partition_keys())
    return [] if subset.is_empty else [None]


def _broke(event: dg.DagsterEvent) -> bool:
    """Say whether a step failed; one of a check that ran to its end and said no did not."""
    error = event.step_failure_data.error if event.is_step_failure else None
    return event.is_step_failure and (error is None or error.cls_name != FAILED_CHECK)


def assets(ran: list[Ran]) -> list[str]:
    """The assets that ran, sorted, each as often as it did."""
    return sorted(one.asset for one in ran)


def computed(ran: list[Ran]) -> dict[str, int]:
    """Items computed by asset, of those that computed any."""
    counts: Counter[str] = Counter()
    for one in ran:
        counts[one.asset] += one.computed
    return {asset: count for asset, count in counts.items() if count}


def bring_back(payload: Path, whole: bytes) -> None:
    """Put back a stored file from a copy, and take away the mark that it was damaged."""
    payload.write_bytes(whole)
    (mark,) = payload.parent.glob("*.damaged")
    mark.unlink()
