"""What is looked at by the clock. All three cost little where nothing changed, and are on by default.

The settings file is looked at by a sensor; files it does not name one by one (the pool's videos), items that
failed for a reason that may have passed, and whatever the automation did not see are found here. What a check
holds back, the clock holds back too. Times are UTC.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import dagster as dg
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from onaspr_assets.house import STUDIES
from onaspr_assets.partitions import EXPERIMENTS
from onaspr_assets.reasons import Versions, recipe_of

POOL = dg.AssetSelection.assets("pool_manifest")
EVALUATION = dg.AssetSelection.groups("evaluation", "reports")
EVERYTHING = dg.AssetSelection.all()
CONCLUDED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
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
def weekly_evaluation(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for the evaluation of every experiment that has videos, each in a run of its own."""
    evaluation = EVALUATION.resolve(context.repository_def.asset_graph)
    yield from _by_experiment(
        context, lambda look: look.askable(lambda key: key in evaluation), "no experiment has videos yet"
    )


@dg.schedule(
    name="backstop",
    target=EVERYTHING,
    cron_schedule="30 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Asks for what is stale though nobody asked for it, and tries again what may work by now.",
)
def backstop(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for what is stale and all made from it: of the pool, then of experiments, then what shows them.

    Nothing is asked for while a run is going or waits: what it makes may not be stale after it.
    """
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    if waiting := context.instance.get_runs_count(dg.RunsFilter(statuses=unfinished)):
        yield dg.SkipReason(f"{waiting} run(s) are going or wait")
        return
    shared = _Look(context, None).stale()
    graph = context.repository_def.asset_graph
    # What shows the experiments comes after them.
    shows = [
        key for key in shared if any(graph.get(dep).is_partitioned for dep in graph.get(key).parent_keys)
    ]
    if first := [key for key in shared if key not in shows]:
        yield dg.RunRequest(asset_selection=first)
        return
    asked = list(_by_experiment(context, _Look.stale, "nothing is stale"))
    if shows and isinstance(asked[0], dg.SkipReason):
        yield dg.RunRequest(asset_selection=shows)
        return
    yield from asked


class _Look:
    """One look at the assets of a partition, or at the unpartitioned ones."""

    def __init__(self, context: dg.ScheduleEvaluationContext, partition: str | None) -> None:
        self._instance, self._graph = context.instance, context.repository_def.asset_graph
        self._partition = partition
        self._versions = Versions(context.instance)
        self._check_passed = cache(self._last_passed)

    def stale(self) -> list[dg.AssetKey]:
        """What is stale and all that is made from it, and what had failures that may pass by themselves.

        What is made from the latter is asked for by the automation, if anything came of it. An asset that
        failed last waits for a change or a person.
        """
        stale = self.askable(lambda key: not self._failed(key) and self._moved(key))
        return stale or self.askable(lambda key: not self._failed(key) and self._to_retry(key), alone=True)

    def askable(self, wanted: Callable[[dg.AssetKey], bool], *, alone: bool = False) -> list[dg.AssetKey]:
        """What is wanted and, unless `alone`, all that is made from it, upstream first.

        Left out are studies, which people ask for, what cannot be made, because something it is made from
        does not exist, and all behind a blocking check that has not passed.
        """
        found: list[dg.AssetKey] = []
        held: set[dg.AssetKey] = set()
        for key in self._graph.toposorted_asset_keys:
            node = self._graph.get(key)
            if node.group_name == STUDIES or not node.is_materializable:
                continue
            if node.is_partitioned != (self._partition is not None):
                continue
            now = self._versions.now(recipe_of(self._graph, key), self._partition)
            made_now = [dep for dep in node.parent_keys if dep in found]
            # What shows studies shows those that there are.
            needed = [dep for dep in node.parent_keys if self._graph.get(dep).group_name != STUDIES]
            rest = [dep for dep in needed if dep not in found]
            if not all(now[dep.to_user_string()] for dep in rest) or self._held(rest, held):
                held.add(key)
            elif (made_now and not alone) or wanted(key):
                found.append(key)
        return found

    def _held(self, deps: Sequence[dg.AssetKey], held: set[dg.AssetKey]) -> bool:
        """Whether one of these is held back itself, or a check that blocks has not passed on it."""
        return any(dep in held or not self._passed(dep) for dep in deps)

    def _passed(self, key: dg.AssetKey) -> bool:
        node = self._graph.get(key)
        partition = self._partition if node.is_partitioned else None
        blocking = [check for check in node.check_keys if self._graph.get(check).blocking]
        return all(self._check_passed(check, partition) for check in blocking)

    def _last_passed(self, check: dg.AssetCheckKey, partition: str | None) -> bool:
        """Whether a check passed when it last came to its end."""
        records = self._instance.event_log_storage.get_asset_check_execution_history(
            check, limit=1, status=CONCLUDED, partition_filter=PartitionKeyFilter(key=partition)
        )
        return bool(records) and records[0].status == AssetCheckExecutionRecordStatus.SUCCEEDED

    def _moved(self, key: dg.AssetKey) -> bool:
        return self._versions.moved(key, recipe_of(self._graph, key), self._partition) != []

    def _to_retry(self, key: dg.AssetKey) -> bool:
        return self._versions.items_to_retry(key, self._partition) > 0

    def _failed(self, key: dg.AssetKey) -> bool:
        """Whether the last run that was to make an asset failed before it did.

        One that never began, as where a machine was too busy to start it in time, says nothing of it.
        """
        partitions = [self._partition] if self._partition else None
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
        planned = self._instance.fetch_planned_materializations(wanted, limit=1).records
        made = self._instance.fetch_materializations(wanted, limit=1).records
        if not planned or (made and made[0].run_id == planned[0].run_id):
            return False
        record = self._instance.get_run_record_by_id(planned[0].run_id)
        if record is None or record.start_time is None:
            return False
        return record.dagster_run.status == dg.DagsterRunStatus.FAILURE


def _by_experiment(
    context: dg.ScheduleEvaluationContext, wanted: Callable[[_Look], list[dg.AssetKey]], otherwise: str
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for what is wanted of each experiment, each in a run of its own; say `otherwise` if nothing is."""
    asked = False
    for experiment in sorted(context.instance.get_dynamic_partitions(EXPERIMENTS)):
        if found := wanted(_Look(context, experiment)):
            asked = True
            yield dg.RunRequest(asset_selection=found, partition_key=experiment)
    if not asked:
        yield dg.SkipReason(otherwise)


SCHEDULES = (nightly_pool, weekly_evaluation, backstop)
