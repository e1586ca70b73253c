"""Why an asset is made: what it is made from has another version than when it was last made.

Every materialization notes the versions of what it was made from, and of the code that made it; Dagster's own
note of them leaves out observed partitions. Here they are compared with the versions of now, for the metadata
of a run and for the schedule that looks for what is stale.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import dagster as dg

from onaspr_assets.params import GROUP, MADE_OF, VERSION_TAG, place
from onaspr_assets.partitions import EXPERIMENTS
from onaspr_core.artifacts import canonical_json
from onaspr_core.markdown import table
from onaspr_core.parameters import Content, version

MADE_FROM = "made_from"
"""Metadata of a materialization: the version of each dependency, by name, and that of the code as `code`."""
CODE = "code"
TO_RETRY = "items_to_retry"
"""Metadata of a materialization: how many of its failures may pass by themselves."""
Event = dg.AssetMaterialization | dg.AssetObservation
OBSERVATIONS_SEARCHED = 100
SHOWN_OF_A_VERSION = 10
LONGEST_VALUE = 60


@dataclass(frozen=True)
class Moved:
    """A dependency whose version is another than before; `before` is empty for a new dependency.

    The texts say the same for people: of a setting the values that differ, otherwise the versions' first
    digits.
    """

    dependency: str
    before: str
    now: str
    before_text: str
    now_text: str


@dataclass(frozen=True)
class Recipe:
    """What an asset is made from.

    Attributes:
        deps: Its dependencies, and whether each exists once per partition.
        code: The version of the code that makes it; empty where it has none.
    """

    deps: Mapping[dg.AssetKey, bool]
    code: str


def recipe_of(graph: Any, key: dg.AssetKey) -> Recipe:
    """Return what an asset of a graph is made from."""
    node = graph.get(key)
    return Recipe(
        {parent: graph.get(parent).is_partitioned for parent in node.parent_keys}, node.code_version or ""
    )


class Versions:
    """Versions on a Dagster instance: those of now, and those that assets were last made from.

    Each is asked for once; an object is for one look.
    """

    def __init__(self, instance: dg.DagsterInstance, in_use: Mapping[str, Content] | None = None) -> None:
        """Ask for nothing yet.

        Args:
            instance: Where versions were noted.
            in_use: What the settings of a run are made of, which then count in place of those last observed:
                the file may have been saved again since the run read it, and even observed.
        """
        self._instance = instance
        self._in_use = in_use
        self._latest = cache(lambda key, partition: next(self._events(key, partition, limit=1), None))

    def now(self, recipe: Recipe, partition: str | None) -> dict[str, str]:
        """Return the versions of what an asset is made from; empty where a dependency has none yet."""
        versions = {
            dep.to_user_string(): self._version_of_all(dep)
            if partitioned and partition is None
            else self._version(dep, partition if partitioned else None)
            for dep, partitioned in sorted(recipe.deps.items())
        }
        return {**versions, CODE: recipe.code} if recipe.code else versions

    def moved(self, key: dg.AssetKey, recipe: Recipe, partition: str | None) -> list[Moved] | None:
        """Return what moved since an asset was last made; None when it never was.

        Args:
            key: The asset.
            recipe: What it is made from.
            partition: The asset's partition, if it has any.
        """
        last: Event | None = self._latest(key, partition)
        if last is None:
            return None
        noted = last.metadata.get(MADE_FROM)
        before: Mapping[str, str] = noted.value if isinstance(noted, dg.JsonMetadataValue) else {}  # type: ignore[assignment]
        now = self.now(recipe, partition)
        moved = [
            self._moved(dep, partition if recipe.deps[dep] else None, before.get(name, ""), now[name])
            for dep in sorted(recipe.deps)
            if before.get(name := dep.to_user_string(), "") != now[name]
        ]
        was = before.get(CODE, "")
        return moved if was == recipe.code else [*moved, _shortly(CODE, was, recipe.code)]

    def items_to_retry(self, key: dg.AssetKey, partition: str | None) -> int:
        """Return how many items of an asset failed for a reason that may pass by itself."""
        last: Event | None = self._latest(key, partition)
        told = last.metadata.get(TO_RETRY) if last is not None else None
        return int(told.value) if isinstance(told, dg.IntMetadataValue) and told.value else 0

    def _version(self, key: dg.AssetKey, partition: str | None) -> str:
        if self._in_use is not None and _is_setting(key):
            # An experiment that the settings no longer name has none.
            content = self._in_use.get(place(key, partition))
            return version(content) if content is not None else ""
        event: Event | None = self._latest(key, partition)
        return version_in(event) if event is not None else ""

    def _version_of_all(self, key: dg.AssetKey) -> str:
        """One version for all partitions that have one: what is made from it has no partitions."""
        own = {one: self._version(key, one) for one in self._instance.get_dynamic_partitions(EXPERIMENTS)}
        there = {experiment: found for experiment, found in own.items() if found}
        return version(there) if there else ""

    def _events(self, key: dg.AssetKey, partition: str | None, limit: int) -> Iterator[Event]:
        """The latest events that gave an asset a version, latest first."""
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition] if partition else None)
        fetch = (
            self._instance.fetch_observations if _is_setting(key) else self._instance.fetch_materializations
        )
        for record in fetch(wanted, limit=limit).records:
            event = record.asset_observation or record.asset_materialization
            if event is not None:
                yield event

    def _moved(self, dep: dg.AssetKey, partition: str | None, before: str, now: str) -> Moved:
        if _is_setting(dep):
            made_of: dict[str, Any] = {}
            if self._in_use is not None and now:
                made_of[now] = json.loads(canonical_json(self._in_use[place(dep, partition)]))
            for event in self._events(dep, partition, limit=OBSERVATIONS_SEARCHED):
                value = event.metadata.get(MADE_OF)
                if isinstance(value, dg.JsonMetadataValue):
                    made_of.setdefault(version_in(event), value.value)
            if before in made_of and now in made_of:
                return Moved(dep.to_user_string(), before, now, *differences(made_of[before], made_of[now]))
        return _shortly(dep.to_user_string(), before, now)


def _shortly(name: str, before: str, now: str) -> Moved:
    texts = (before[:SHOWN_OF_A_VERSION] or "none", now[:SHOWN_OF_A_VERSION] or "none")
    return Moved(name, before, now, *texts)


def version_in(event: Event) -> str:
    """Return the version that an observation or materialization gave an asset."""
    return (event.tags or {}).get(VERSION_TAG, "")


def _is_setting(key: dg.AssetKey) -> bool:
    return key.path[0] == GROUP


def differences(before: Any, now: Any) -> tuple[str, str]:
    """Return in words what two JSON values do not share: `eta 0.5` and `eta 0.7`."""
    flat_before, flat_now = dict(_flat(before, "")), dict(_flat(now, ""))
    names = [
        name
        for name in dict.fromkeys([*flat_before, *flat_now])
        if not (name in flat_before and name in flat_now and flat_before[name] == flat_now[name])
    ]
    return _said(flat_before, names), _said(flat_now, names)


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _said(flat: Mapping[str, Any], names: list[str]) -> str:
    words = [f"{name} {str(flat[name])[:LONGEST_VALUE]}" for name in names if name in flat]
    return ", ".join(words) or "none"


def sentence(moved: list[Moved] | None) -> str:
    """Say in one line why an asset is made."""
    if moved is None:
        return "made for the first time"
    if not moved:
        return "nothing moved since it was last made"
    return "; ".join(f"{one.dependency}: {one.before_text} → {one.now_text}" for one in moved)


def listing(moved: list[Moved] | None) -> str:
    """Return the same as a Markdown table, or as the sentence where there is nothing to list."""
    if not moved:
        return sentence(moved)
    return table(
        ["made from", "before", "now"], [(one.dependency, one.before_text, one.now_text) for one in moved]
    )
