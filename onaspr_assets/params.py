"""Settings as assets: each setting that moves alone is observed under its version (`onaspr_core.parameters`).

An observation of `params/eta` says "eta of this experiment is now that". What depends on the setting names
it as a dependency; nothing else hears of it. Observing launches no work.
"""

from collections.abc import Iterator, Mapping

import dagster as dg

from onaspr_assets.errors import told_to_people
from onaspr_assets.partitions import EXPERIMENTS, experiments
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.runs import end_dead_runs
from onaspr_core.parameters import PER_EXPERIMENT, SHARED, versions

GROUP = "params"


def param(name: str) -> dg.AssetKey:
    """Return the asset key of a setting.

    Raises:
        KeyError: when there is no such setting.
    """
    if name not in SHARED and name not in PER_EXPERIMENT:
        raise KeyError(name)
    return dg.AssetKey([GROUP, name])


def param_specs() -> list[dg.AssetSpec]:
    """Return the settings as external assets."""
    shared = [
        dg.AssetSpec(param(name), description=text, group_name=GROUP, kinds={"toml"})
        for name, (text, _) in SHARED.items()
    ]
    return shared + [
        dg.AssetSpec(
            param(name), description=text, group_name=GROUP, kinds={"toml"}, partitions_def=experiments
        )
        for name, (text, _) in PER_EXPERIMENT.items()
    ]


def observations(current: Mapping[str, str], seen: Mapping[str, str]) -> Iterator[dg.AssetObservation]:
    """Yield an observation for each setting whose version is not the one seen before."""
    for where, version in current.items():
        if seen.get(where) != version:
            name, _, experiment = where.partition("|")
            yield dg.AssetObservation(
                param(name), partition=experiment or None, tags={"dagster/data_version": version}
            )


def last_seen(instance: dg.DagsterInstance, current: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that were last observed on an instance, for the settings in `current`."""
    seen = {}
    for where in current:
        name, _, experiment = where.partition("|")
        records = instance.fetch_observations(
            dg.AssetRecordsFilter(
                asset_key=param(name), asset_partitions=[experiment] if experiment else None
            ),
            limit=1,
        ).records
        observation = records[0].asset_observation if records else None
        if observation is not None and observation.data_version:
            seen[where] = observation.data_version
    return seen


@dg.op
def observe_settings_file(context: dg.OpExecutionContext, workspace: WorkspaceResource) -> None:
    """Read the settings: new experiments become partitions, moved settings are observed; end dead runs."""
    with told_to_people():
        settings = workspace.settings()
        current = versions(settings)
    for run_id in end_dead_runs(context.instance):
        context.log.warning(f"run {run_id} died; it is marked as failed")
    context.instance.add_dynamic_partitions(EXPERIMENTS, sorted(settings.experiments))
    moved = list(observations(current, last_seen(context.instance, current)))
    for observation in moved:
        context.log_event(observation)
    context.log.info(f"{len(current)} settings read, {len(moved)} moved")


@dg.job(description="Read settings.toml: new experiments become partitions, moved settings are observed.")
def observe_settings() -> None:
    """Observe the settings file once. It launches no other work."""
    observe_settings_file()
