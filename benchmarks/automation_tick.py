"""What a tick of the automation costs, beside the same graph under conditions that Dagster brings along.

A tick is what Dagster's daemon does every ten seconds: read its cursor, evaluate the condition of every asset
within one view of the instance, write down the evaluations that changed, and the next cursor. Left out is
what no condition changes: the tick's own row, the code location, the half second of waiting for events to
settle. The daemon asks for the experiments once a tick; `dagster.evaluate_automation_conditions`, made for
tests, asks thousands of times, so it is not what is timed here.

On a temporary instance all assets of all experiments are reported as made, and their checks as passed.
*quiet* is a tick in which nothing happened; *eta* are two, one that finds eta of one experiment changed and
one that finds its videos asked for. The record is what a tick adds to the database, where Dagster keeps it
for 30 days; the cursor replaces the one before.

Bars: a quiet tick costs at most twice what it costs under `eager()`, and any tick at most a third of the
seconds between two.
"""

import argparse
import itertools
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

import dagster as dg
from _timing import interleaved, median_ratio, print_table, verdict
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.automation_tick_evaluation_context import AutomationTickEvaluationContext
from dagster._daemon.asset_daemon import (
    asset_daemon_cursor_from_instigator_serialized_cursor,
    asset_daemon_cursor_to_instigator_serialized_cursor,
)
from dagster_shared.serdes import serialize_value

from onaspr_assets.build import ASSETS, automated
from onaspr_assets.checks import CHECKS
from onaspr_assets.params import param, param_assets
from onaspr_assets.partitions import EXPERIMENTS
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.sensors import SECONDS_BETWEEN_EVALUATIONS

Condition = dg.AutomationCondition
OURS, EAGER, SIMPLE = "recompute_what_changed", "eager()", "on_missing() | any_deps_updated()"
RATIO_BAR = 2.0
SECONDS_BAR = round(SECONDS_BETWEEN_EVALUATIONS / 3, 1)


def graphs() -> dict[str, dg.Definitions]:
    """Return the project's graph under each condition."""

    def under(condition: Any) -> Iterable[dg.AssetsDefinition]:
        return dg.map_asset_specs(
            lambda spec: spec.replace_attributes(automation_condition=condition), list(ASSETS)
        )

    assets = {
        OURS: automated(ASSETS),
        EAGER: under(Condition.eager()),
        SIMPLE: under(Condition.on_missing() | Condition.any_deps_updated()),
    }
    workspace = WorkspaceResource(settings_path="")
    # Only ours looks at checks; they are part of its price.
    return {
        name: dg.Definitions(
            assets=[*param_assets(), *made],
            asset_checks=CHECKS if name == OURS else None,
            resources={"workspace": workspace},
        )
        for name, made in assets.items()
    }


def platform(folder: str, graph: dg.Definitions, count: int) -> dg.DagsterInstance:
    """Return an instance in `folder` on which every asset of `count` experiments is made and observed."""
    instance = dg.DagsterInstance.local_temp(folder)
    experiments = [f"experiment-{number}" for number in range(count)]
    instance.add_dynamic_partitions(EXPERIMENTS, experiments)
    assets = graph.resolve_asset_graph()
    for key in assets.toposorted_asset_keys:
        node = assets.get(key)
        event = dg.AssetMaterialization if node.is_materializable else dg.AssetObservation
        for partition in experiments if node.is_partitioned else [None]:
            instance.report_runless_asset_event(
                event(key, partition=partition, tags={"dagster/data_version": "first"})
            )
    for check in (key for declared in CHECKS for key in declared.check_keys):
        for partition in experiments if assets.get(check.asset_key).is_partitioned else [None]:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=check.asset_key, check_name=check.name, passed=True, partition=partition
                )
            )
    return instance


class Daemon:
    """The part of Dagster's daemon that a condition makes cheap or dear."""

    def __init__(self, instance: dg.DagsterInstance, graph: dg.Definitions) -> None:
        """Tick twice, so that the first evaluation of each condition is over."""
        self.instance = instance
        self.assets = graph.resolve_asset_graph()
        self.cursor = asset_daemon_cursor_to_instigator_serialized_cursor(AssetDaemonCursor.empty())
        self.versions = itertools.count()
        for _ in range(2):
            self.tick()

    def tick(self) -> int:
        """Evaluate every condition once; return the bytes of the record."""
        cursor = asset_daemon_cursor_from_instigator_serialized_cursor(self.cursor, self.assets)
        _, following, evaluations = AutomationTickEvaluationContext(
            evaluation_id=cursor.evaluation_id + 1,
            instance=self.instance,
            asset_graph=self.assets,
            cursor=cursor,
            materialize_run_tags={},
            observe_run_tags={},
            auto_observe_asset_keys=set(),
            asset_selection=dg.AssetSelection.all(),
            logger=logging.getLogger("benchmark"),
            emit_backfills=False,
        ).evaluate()
        self.cursor = asset_daemon_cursor_to_instigator_serialized_cursor(following)
        return sum(len(serialize_value(evaluation)) for evaluation in evaluations)

    def eta(self) -> int:
        """Change eta of one experiment; return the bytes of the records of two ticks."""
        version = {"dagster/data_version": f"{id(self)}-{next(self.versions)}"}
        self.instance.report_runless_asset_event(
            dg.AssetObservation(param("eta"), partition="experiment-0", tags=version)
        )
        return self.tick() + self.tick()


KINDS: dict[str, tuple[Callable[[Daemon], int], int]] = {"quiet": (Daemon.tick, 1), "eta": (Daemon.eta, 2)}
"""What is timed, and how many ticks it has."""


def measure(count: int, kind: str, repetitions: int) -> list[list[str]]:
    """Return the table's rows for one number of experiments and one kind of tick."""
    run, ticks = KINDS[kind]
    contenders = graphs()
    with tempfile.TemporaryDirectory() as folder:
        instance = platform(folder, contenders[OURS], count)
        daemons = {name: Daemon(instance, graph) for name, graph in contenders.items()}
        seconds = interleaved({name: partial(run, daemon) for name, daemon in daemons.items()}, repetitions)
        records = {name: run(daemon) / ticks for name, daemon in daemons.items()}
    rows = []
    for name, daemon in daemons.items():
        spent, ratio = median(seconds[name]) / ticks, median_ratio(seconds[name], seconds[EAGER])
        bars = [verdict(spent, SECONDS_BAR)] + [verdict(ratio, RATIO_BAR)] * (kind == "quiet")
        rows.append(
            [
                *(str(count), kind, name, f"{spent:.2f}", f"{ratio:.2f}"),
                *(f"{records[name] / 1000:.0f}", f"{len(daemon.cursor) / 1000:.0f}"),
                ", ".join(bars) if name == OURS else "",
            ]
        )
    return rows


def main() -> None:
    """Time the ticks in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--experiments", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--repetitions", type=int, default=7)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", dg.BetaWarning)
    # Events are bounded as on the platform; the wait itself is no work.
    os.environ["DAGSTER_AUTOMATION_TICK_SETTLE_SECONDS"] = "1e-6"
    rows = [
        row
        for count in arguments.experiments
        for kind in KINDS
        for row in measure(count, kind, arguments.repetitions)
    ]
    print(f"seconds of one tick, medians of {arguments.repetitions} interleaved repetitions")
    print_table(
        ["experiments", "tick", "condition", "seconds", "ratio", "record kB", "cursor kB", "bars"], rows
    )


if __name__ == "__main__":
    main()
