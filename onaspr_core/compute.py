"""Work items: what is missing is made, what exists is reused, what fails is told.

Every stage is a list of items with content keys. This module decides which of them must be made, has an
engine make them (`onaspr_core.engines`), and sums up what happened. It knows no stage and no model.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from onaspr_core.engines.local import LocalEngine
from onaspr_core.engines.protocol import Engine, Item, Making
from onaspr_core.engines.protocol import Maker as Maker
from onaspr_core.errors import UserError
from onaspr_core.progress import logger, track


class Failure(NamedTuple):
    """One item that could not be made, by the name a person knows it by, and why.

    `passing` says that the reason may pass by itself, as a service that is down does: trying again may help.
    """

    item: str
    reason: str
    passing: bool = False


@dataclass(frozen=True)
class Preview:
    """What there is to see of a stage: a picture, a table, or both."""

    markdown: str = ""
    png: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """What a stage did.

    `version` is the hash of the content keys of all items that exist now and of the names of those that
    failed: equal content, equal version.
    `seconds` is the time spent making items; `models` names what was loaded for it.
    `repaired` counts those of the computed items that had been found damaged.
    """

    version: str
    total: int
    computed: int
    reused: int
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    models: tuple[str, ...] = ()
    repaired: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    preview: Preview | None = None


def version_of(keys: Iterable[str]) -> str:
    """Return the data version of a set of content keys; order and repetition do not matter."""
    return hashlib.sha256("\n".join(sorted(set(keys))).encode()).hexdigest()[:40]


def merge(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome for several that ran one after another; facts and previews are the caller's."""
    return Outcome(
        version=version_of([one.version for one in outcomes]),
        total=sum(one.total for one in outcomes),
        computed=sum(one.computed for one in outcomes),
        reused=sum(one.reused for one in outcomes),
        failures=tuple(dict.fromkeys(failure for one in outcomes for failure in one.failures)),
        seconds=sum(one.seconds for one in outcomes),
        models=tuple(dict.fromkeys(model for one in outcomes for model in one.models)),
        repaired=sum(one.repaired for one in outcomes),
    )


def row_outcome(
    *, before: Collection[str], after: Sequence[str], failures: Sequence[Failure] = ()
) -> Outcome:
    """Sum up a stage that replaces rows of the catalog.

    Args:
        before: Content keys of the rows that were there.
        after: Content keys of the rows that are there now; those not in `before` were computed.
        failures: Rows that could not be made.
    """
    reused = sum(key in before for key in after)
    return Outcome(
        version=version_of([*after, *(f"failed {failure.item}" for failure in failures)]),
        total=len(after) + len(failures),
        computed=len(after) - reused,
        reused=reused,
        failures=tuple(failures),
    )


def run_items(
    label: str,
    items: Sequence[Item],
    *,
    key: Callable[[Item], str],
    name: Callable[[Item], str],
    exists: Callable[[Sequence[str]], Collection[str]],
    open_maker: Callable[[], AbstractContextManager[Maker[Item]]],
    batch_size: int | Literal["auto"] = 1,
    remedy: str = "use a GPU with more memory",
    look_up: Callable[[list[Item]], list[Item]] = list,
    engine: Engine | None = None,
) -> Outcome:
    """Make the items that are missing and say what happened.

    Args:
        label: What the items are, for progress lines.
        items: All items of the stage. Items with equal keys are made once.
        key: Content key of an item.
        name: The name a person knows an item by.
        exists: The subset of the given keys that is already made.
        open_maker: Entered only when something is missing, so that models load only then.
        batch_size: The most items a maker is handed at once; fewer where they do not fit into a GPU's memory.
        remedy: What helps where not even one fits.
        look_up: Adds to missing items, in this process, what a maker needs from the catalog.
        engine: Where they are made; left out, in this process. Another sends items and `open_maker` away.

    Raises:
        UserError: what the maker raises, and when items that were made cannot be seen from here.
    """
    making = Making(label, open_maker, name, batch_size, remedy)
    by_key: dict[str, Item] = {}
    for item in items:
        by_key.setdefault(key(item), item)
    present = set(exists(list(by_key)))
    missing = [item_key for item_key in by_key if item_key not in present]
    failures: list[Failure] = []
    seconds = 0.0
    made = set[str]()

    def still_missing(some: Sequence[Item]) -> list[Item]:
        there = exists([key(item) for item in some])
        return [item for item in some if key(item) not in there]

    if missing:
        started = time.monotonic()
        wanted = look_up([by_key[item_key] for item_key in missing])
        with track(label, len(missing)) as advance:
            for done, failed in (engine or LocalEngine()).make(making, wanted, still_missing):
                failures.extend(failed)
                advance(done)
        seconds = time.monotonic() - started
        made = set(exists(missing))
    for failure in failures:
        logger.warning("%s: %s failed: %s", label, failure.item, failure.reason)
    told = {failure.item for failure in failures}
    lost = [k for k in missing if k not in made and name(by_key[k]) not in told]
    if lost:
        raise _not_seen(f"{label}: {name(by_key[lost[0]])}", engine)
    finished = [item_key for item_key in by_key if item_key in present or item_key in made]
    return Outcome(
        version=version_of([*finished, *(f"failed {failure.item}" for failure in failures)]),
        total=len(by_key),
        computed=len(made),
        reused=len(present),
        failures=tuple(failures),
        seconds=seconds,
    )


def _not_seen(what: str, engine: Engine | None) -> Exception:
    if engine is None or isinstance(engine, LocalEngine):
        return RuntimeError(f"{what} was neither made nor reported as failed")
    return UserError(
        f"{what} was made by a worker, and is not in the store as it is seen from here; set store.root to a "
        "folder that all machines share under one path, or to the URL of an object store"
    )
