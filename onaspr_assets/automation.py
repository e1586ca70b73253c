"""When Dagster asks for an asset by itself: one condition for all of them.

A run is launched because something that the asset is made from became another thing, and for no other reason.
What happens inside the run, item by item, is the core's business.
"""

from collections.abc import Collection, Iterable
from typing import Any

import dagster as dg

Condition = dg.AutomationCondition
_NEVER_MADE = Condition.missing() & ~Condition.execution_failed()
_DEPENDENCY_CHANGED = Condition.any_deps_match(Condition.data_version_changed())


def recompute_what_changed(ancestors: Iterable[dg.AssetKey]) -> dg.AutomationCondition:
    """Return the condition of an asset whose ancestors, near and far, are these.

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
    - *nothing upstream is running or about to run*, however far up. Otherwise a change of eta and of the pool
      at once would make videos twice: for the new eta and the old neighbours, and again for the new ones.
      "About to run" is said by the ancestors' own reasons, not by `will_be_requested`, which knows nothing of
      assets with other partitions.
    - *checks that block passed upstream*: a run on inputs that are known to be bad wastes hours.
    - *it is not running itself*: the run that is going may be about to see the change; if it did not, the
      reason is still there when it ends.
    """
    reason = _reason()
    # A tick evaluates this for every pair of asset and ancestor: only what can launch a run by itself counts.
    busy = Condition.in_progress() | _NEVER_MADE | _latched(_DEPENDENCY_CHANGED)
    quiet = [
        _named(f"{key.to_user_string()} is up to date", ~Condition.asset_matches(key, busy))
        for key in sorted(ancestors)
    ]
    return _named(
        "recompute what changed",
        _named("there is a reason to make it", reason)
        & _named("everything it is made from exists", ~Condition.any_deps_missing())
        & _named("nothing upstream is running or about to run", _all(quiet))
        & _named("no check upstream blocks it", Condition.all_deps_blocking_checks_passed())
        & _named("it is not running", ~Condition.in_progress()),
    )


def _reason() -> dg.AutomationCondition:
    """Something that asks for a run and is remembered until the run has been asked for."""
    changed = _DEPENDENCY_CHANGED | Condition.code_version_changed()
    failed = Condition.execution_failed().newly_true()
    return (
        _named("it was never made", _NEVER_MADE)
        | _named("something it is made from changed", _latched(changed))
        | _named("it failed for the first time", _latched(failed))
    )


def _named(label: str, condition: Any) -> dg.AutomationCondition:
    """The same condition under a name that the Automation tab shows."""
    named: dg.AutomationCondition = condition.with_label(label)
    return named


def _latched(event: dg.AutomationCondition) -> dg.AutomationCondition:
    """True from an event on until the asset is asked for; an event in that very tick counts again.

    `initial_evaluation` has no place here: under `asset_matches` it is true at every tick.
    """
    return event.since(Condition.newly_requested() & ~event)


def _all(conditions: Collection[dg.AutomationCondition]) -> dg.AutomationCondition:
    """True where all are; without any there is nothing to wait for."""
    if not conditions:
        return ~Condition.in_progress()
    first, *others = conditions
    for one in others:
        first = first & one
    return first


def ancestors_of(specs: Iterable[dg.AssetSpec]) -> dict[dg.AssetKey, set[dg.AssetKey]]:
    """Return for each asset all assets of the same list that it is made from, near and far."""
    parents = {spec.key: {dep.asset_key for dep in spec.deps} for spec in specs}
    known: dict[dg.AssetKey, set[dg.AssetKey]] = {}

    def find(key: dg.AssetKey) -> set[dg.AssetKey]:
        if key not in known:
            own = parents[key] & parents.keys()
            known[key] = own.union(*(find(parent) for parent in own))
        return known[key]

    for key in parents:
        find(key)
    return known
