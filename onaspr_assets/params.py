"""Settings as assets: each setting that moves alone is observed under its version (`onaspr_core.parameters`).

An observation of `params/eta` says "eta of this experiment is now that". What depends on the setting names
it as a dependency; nothing else hears of it. Observing launches no work.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

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


def param_keys() -> list[dg.AssetKey]:
    """Return the asset keys of all settings."""
    return [param(name) for name in (*SHARED, *PER_EXPERIMENT)]


def param_assets() -> list[Any]:
    """Return the settings as observable assets; each has its own button in the UI."""
    with warnings.catch_warnings():
        # Dagster calls observable assets beta; nothing else has a version without being made.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_observable(name, text) for name, (text, _) in (*SHARED.items(), *PER_EXPERIMENT.items())]


def _observable(name: str, text: str) -> Any:
    @dg.observable_source_asset(
        name=name,
        key_prefix=[GROUP],
        group_name=GROUP,
        description=text,
        tags={"dagster/kind/toml": ""},
        partitions_def=experiments if name in PER_EXPERIMENT else None,
    )
    def observe(workspace: WorkspaceResource) -> dg.DataVersion | dg.DataVersionsByPartition:
        with told_to_people():
            settings = workspace.settings()
            current = versions(settings)
        if name in SHARED:
            return dg.DataVersion(current[name])
        return dg.DataVersionsByPartition({e: current[f"{name}|{e}"] for e in settings.experiments})

    return observe


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
