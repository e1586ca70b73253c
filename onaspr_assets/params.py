"""Settings as assets: each setting that moves alone is observed under its version (`onaspr_core.parameters`).

An observation of `params/eta` says "eta of this experiment is now that". What depends on the setting names
it as a dependency; nothing else hears of it. Observing launches no work.
"""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from onaspr_assets.errors import told_to_people
from onaspr_assets.partitions import EXPERIMENTS, experiments
from onaspr_assets.resources import WorkspaceResource
from onaspr_core.artifacts import canonical_json
from onaspr_core.parameters import PER_EXPERIMENT, SHARED, Content, contents, version
from onaspr_core.settings import Settings

GROUP = "params"
VERSION_TAG = "dagster/data_version"
MADE_OF = "made_of"
"""Metadata of an observation: what the setting is made of, as JSON. One by the UI's button has none."""


def param(name: str) -> dg.AssetKey:
    """Return the asset key of a setting.

    Raises:
        KeyError: when there is no such setting.
    """
    if name not in SHARED and name not in PER_EXPERIMENT:
        raise KeyError(name)
    return dg.AssetKey([GROUP, name])


def place(key: dg.AssetKey, experiment: str | None) -> str:
    """Return where `contents` holds a setting: under `name` or `name|experiment`."""
    return f"{key.path[-1]}|{experiment}" if experiment else key.path[-1]


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
            current = {where: version(content) for where, content in contents(settings).items()}
        if name in SHARED:
            return dg.DataVersion(current[name])
        return dg.DataVersionsByPartition({e: current[place(param(name), e)] for e in settings.experiments})

    return observe


@dataclass(frozen=True)
class Look:
    """What a look at the settings file found: observations to make, experiments to add and to drop."""

    settings: int
    moved: list[dg.AssetObservation]
    new: list[str]
    gone: list[str]

    def __bool__(self) -> bool:
        """Whether anything is another than on the Dagster instance."""
        return bool(self.moved or self.new or self.gone)


def look(instance: dg.DagsterInstance, settings: Settings) -> Look:
    """Compare the settings with what was last observed on an instance; changes nothing."""
    current = contents(settings)
    present = set(instance.get_dynamic_partitions(EXPERIMENTS))
    return Look(
        settings=len(current),
        moved=list(observations(current, last_seen(instance))),
        new=sorted(settings.experiments.keys() - present),
        gone=sorted(present - settings.experiments.keys()),
    )


def observations(current: Mapping[str, Content], seen: Mapping[str, str]) -> Iterator[dg.AssetObservation]:
    """Yield an observation for each setting whose version is not the one seen before."""
    for where, content in current.items():
        now = version(content)
        if seen.get(where) != now:
            name, _, experiment = where.partition("|")
            yield dg.AssetObservation(
                param(name),
                partition=experiment or None,
                tags={VERSION_TAG: now},
                metadata={MADE_OF: dg.MetadataValue.json(json.loads(canonical_json(content)))},
            )


def last_seen(instance: dg.DagsterInstance) -> dict[str, str]:
    """Return the versions that were last observed on an instance, under `name` or `name|experiment`."""
    seen = {}
    for name in SHARED:
        records = instance.fetch_observations(param(name), limit=1).records
        observation = records[0].asset_observation if records else None
        if observation is not None and observation.data_version:
            seen[name] = observation.data_version
    for name in PER_EXPERIMENT:
        # One query for all experiments: a look is taken four times a minute.
        tags = instance.event_log_storage.get_latest_tags_by_partition(
            param(name), dg.DagsterEventType.ASSET_OBSERVATION, [VERSION_TAG]
        )
        seen.update(
            {place(param(name), experiment): found[VERSION_TAG] for experiment, found in tags.items()}
        )
    return seen


@dg.op
def observe_settings_file(context: dg.OpExecutionContext, workspace: WorkspaceResource) -> None:
    """Read the settings: experiments come and go as partitions, moved settings are observed."""
    with told_to_people():
        found = look(context.instance, workspace.settings())
    context.instance.add_dynamic_partitions(EXPERIMENTS, found.new)
    for name in found.gone:
        context.instance.delete_dynamic_partition(EXPERIMENTS, name)
    for observation in found.moved:
        context.log_event(observation)
    context.log.info(f"{found.settings} settings read, {len(found.moved)} moved")


@dg.job(description="Read settings.toml: experiments come and go as partitions, moved settings are observed.")
def observe_settings() -> None:
    """Observe the settings file once. It launches no other work."""
    observe_settings_file()
