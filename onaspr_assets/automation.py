"""When Dagster asks for an asset by itself: one condition for all of them.

A run is launched because something that the asset is made from became another thing, and for no other reason.
What happens inside the run, item by item, is the core's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

import dagster as dg

Condition = dg.AutomationCondition


@dataclass(frozen=True)
class Ancestors:
    """What an asset is made from, near and far, of those assets that have the condition too.

    Attributes:
        alike: Those with the asset's own partitions.
        others: Those with other partitions, or none.
    """

    alike: frozenset[dg.AssetKey]
    others: frozenset[dg.AssetKey]


def recompute_what_changed(ancestors: Ancestors) -> dg.AutomationCondition:
    """Return the condition of an asset with these ancestors.

    It asks for a partition of the asset

    - when it *was never made*. Not when it failed on the way there: a broken one would be asked for for ever.
    - when *something it is made from changed*: a dependency has another data version, or the asset's own code
      version moved. Materializing a dependency again with an equal version is no change. The reason is kept
      until the asset has been asked for (`since`), so that a change that lands while a run is going, or while
      something upstream is, is not lost.
    - when *it failed for the first time*, once. After that it waits for a change or a person.

    and only when

    - *everything it is made from exists*: without it, or with settings that were never observed, it could
      only fail.
    - *everything upstream is up to date*, however far up: not running, not about to run, nor waiting for a
      check. Otherwise a change of eta and of the pool at once would make videos twice: for the new eta and
      the old neighbours, and again for the new ones.
    - *checks that block passed upstream*: a run on inputs that are known to be bad wastes hours.
    - *it is not running itself*: the run that is going may be about to see the change; if it did not, the
      reason is still there when it ends.
    """
    behind = [
        _named(f"{key.to_user_string()} is not up to date", Condition.asset_matches(key, condition))
        for keys, condition in ((ancestors.alike, _behind()), (ancestors.others, _behind_elsewhere()))
        for key in sorted(keys)
    ]
    conditions = [
        _named("there is a reason to make it", _reason()),
        _named("everything it is made from exists", ~Condition.any_deps_match(Condition.missing())),
        *([_named("everything upstream is up to date", ~reduce(or_, behind))] if behind else []),
        _named("no check upstream blocks it", Condition.all_deps_blocking_checks_passed()),
        _named("it is not running", ~Condition.in_progress()),
    ]
    return _named("recompute what changed", reduce(and_, conditions))


def show_what_there_is() -> dg.AutomationCondition:
    """Return the condition of an asset that shows whatever exists of what it depends on, such as the report.

    It has the reasons of `recompute_what_changed`, and waits for as little as it can: that something exists,
    and that nothing it shows is just being made. What is missing, or behind, of other experiments, or fails,
    keeps it from nothing.
    """
    conditions = [
        _named("there is a reason to make it", _reason()),
        _named("something exists to show", Condition.any_deps_match(~Condition.missing())),
        _named("nothing that it shows is being made", ~Condition.any_deps_match(Condition.run_in_progress())),
        _named("it is not running", ~Condition.in_progress()),
    ]
    return _named("show what there is", reduce(and_, conditions))


def _reason() -> dg.AutomationCondition:
    """Something that asks for a run and is remembered until the run has been asked for."""
    changed = _dependency_changed() | Condition.code_version_changed()
    failed = Condition.execution_failed().newly_true()
    return (
        _named("it was never made", Condition.missing() & ~Condition.execution_failed())
        | _named("something it is made from changed", _latched(changed))
        | _named("it failed for the first time", _latched(failed))
    )


def _behind() -> dg.AutomationCondition:
    """What all that is made from an asset waits for; among assets with the same partitions.

    Whether the asset has a reason to run is not looked at. With one it is asked for in this very tick, or one
    of these is true of it or of an asset that it is made from itself. To remember the reason once more for
    every pair of assets would double a tick and make its record five times as large.
    """
    return _unsettled() | _named("it is asked for now", Condition.will_be_requested())


def _behind_elsewhere() -> dg.AutomationCondition:
    """The same across partitions, where `will_be_requested` is always false."""
    return _unsettled() | _named("something it is made from changed", _latched(_dependency_changed()))


def _unsettled() -> dg.AutomationCondition:
    """It runs, or nobody knows yet whether it is good. What failed is not waited for."""
    checked = Condition.all_checks_match(Condition.check_passed(), blocking_only=True)
    unknown = (Condition.missing() | ~checked) & ~Condition.execution_failed()
    return (
        Condition.run_in_progress()
        | Condition.backfill_in_progress()
        | _named("it was never made, or a check that blocks has not passed", unknown)
        | _named("its run has ended and what it made is not seen yet", _ended_unseen())
    )


def _ended_unseen() -> dg.AutomationCondition:
    """True in the tick that first finds a run ended whose result it does not see.

    A tick looks at events up to its start, and at runs as they are when it comes to them. What is made from
    two assets of such a run would be asked for when the first is seen, and again for the second.
    """
    going = Condition.run_in_progress()
    began = Condition.newly_requested() | going.newly_true()
    ended = Condition.newly_requested() | (~going).newly_true()
    return began.since(Condition.newly_updated()) & ended & ~Condition.execution_failed()


def _dependency_changed() -> dg.AutomationCondition:
    return Condition.any_deps_match(Condition.data_version_changed())


def _named(label: str, condition: Any) -> dg.AutomationCondition:
    """The same condition under a name that the Automation tab shows."""
    named: dg.AutomationCondition = condition.with_label(label)
    return named


def _latched(event: dg.AutomationCondition) -> dg.AutomationCondition:
    """True from an event on until the asset is asked for; an event in that very tick counts again.

    `initial_evaluation` has no place here: under `asset_matches` it is true at every tick.
    """
    return event.since(Condition.newly_requested() & ~event)


def ancestors_of(specs: Iterable[dg.AssetSpec]) -> dict[dg.AssetKey, Ancestors]:
    """Return for each asset all assets of the same list that it is made from, near and far."""
    by_key = {spec.key: spec for spec in specs}
    known: dict[dg.AssetKey, frozenset[dg.AssetKey]] = {}

    def find(key: dg.AssetKey) -> frozenset[dg.AssetKey]:
        if key not in known:
            own = {dep.asset_key for dep in by_key[key].deps} & by_key.keys()
            known[key] = frozenset(own.union(*(find(parent) for parent in own)))
        return known[key]

    def divided(spec: dg.AssetSpec) -> Ancestors:
        alike = {key for key in find(spec.key) if by_key[key].partitions_def == spec.partitions_def}
        return Ancestors(alike=frozenset(alike), others=find(spec.key) - alike)

    return {key: divided(spec) for key, spec in by_key.items()}
