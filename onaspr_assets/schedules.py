"""What is looked at by the clock. All three cost little where nothing changed, and are on by default.

The settings file is looked at by a sensor; files it does not name one by one (the pool's videos), a service
that was down, and whatever the automation did not see are found here. Times are UTC.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from onaspr_assets.partitions import EXPERIMENTS
from onaspr_assets.reasons import Versions, dependencies

POOL = dg.AssetSelection.assets("pool_manifest")
EVALUATION = dg.AssetSelection.groups("evaluation", "reports")
EVERYTHING = dg.AssetSelection.all()
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dg.schedule(
    name="nightly_pool",
    target=POOL,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks at the pools' source lists and files: new, changed and vanished pairs.",
)
def nightly_pool() -> dg.RunRequest:
    """Ask for the manifest; what it changes is asked for by the automation."""
    return dg.RunRequest()


@dg.schedule(
    name="weekly_evaluation",
    target=EVALUATION,
    cron_schedule="0 4 * * 0",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Scores and reports every experiment again, from videos and benchmarks as they lie there.",
)
def weekly_evaluation(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Ask for the evaluation of every experiment, each in a run of its own."""
    for experiment in sorted(context.instance.get_dynamic_partitions(EXPERIMENTS)):
        yield dg.RunRequest(partition_key=experiment)


@dg.schedule(
    name="backstop",
    target=EVERYTHING,
    cron_schedule="30 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks for what is stale though nobody asked for it: made from versions that are gone.",
)
def backstop(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for what is stale and all that is made from it, in one run: of the pool first, then of experiments.

    Nothing is asked for while a run is going or waits: what it makes may not be stale after it.
    """
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    if waiting := context.instance.get_runs_count(dg.RunsFilter(statuses=unfinished)):
        yield dg.SkipReason(f"{waiting} run(s) are going or wait")
        return
    graph = context.repository_def.asset_graph
    shared = stale(context.instance, graph, None)
    if shared:
        yield dg.RunRequest(asset_selection=shared)
        return
    nothing = True
    for experiment in sorted(context.instance.get_dynamic_partitions(EXPERIMENTS)):
        if found := stale(context.instance, graph, experiment):
            nothing = False
            yield dg.RunRequest(asset_selection=found, partition_key=experiment)
    if nothing:
        yield dg.SkipReason("nothing is stale")


def stale(instance: dg.DagsterInstance, graph: Any, partition: str | None) -> list[dg.AssetKey]:
    """Return what is stale of a partition, or of the unpartitioned assets, and all that is made from it.

    Left out are an asset that failed last, which waits for a change or a person, and one that cannot be made
    yet because something it is made from does not exist.
    """
    versions = Versions(instance)
    found: list[dg.AssetKey] = []
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        if not node.is_materializable or node.is_partitioned != (partition is not None):
            continue
        deps = dependencies(graph, key)
        now = versions.now(deps, partition)
        if not all(now[dep.to_user_string()] or dep in found for dep in deps):
            continue
        moved = versions.moved(key, deps, partition) != []
        if any(dep in found for dep in deps) or (moved and not _failed(instance, key, partition)):
            found.append(key)
    return found


def _failed(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> bool:
    """Whether the last run that was to make an asset failed before it did."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition] if partition else None)
    planned = instance.fetch_planned_materializations(wanted, limit=1).records
    made = instance.fetch_materializations(wanted, limit=1).records
    if not planned or (made and made[0].run_id == planned[0].run_id):
        return False
    run = instance.get_run_by_id(planned[0].run_id)
    return run is not None and run.status == dg.DagsterRunStatus.FAILURE


SCHEDULES = (nightly_pool, weekly_evaluation, backstop)
