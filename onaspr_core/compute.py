"""Work items: what is missing is made, what exists is reused, what fails is told.

Every stage is a list of items with content keys. This module decides which of them must be made, makes
them in batches in this process, and sums up what happened. It knows no stage and no model.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

from onaspr_core.batches import BatchSizes, is_out_of_memory
from onaspr_core.progress import logger, track

Item = TypeVar("Item")


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
    """

    version: str
    total: int
    computed: int
    reused: int
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    models: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    preview: Preview | None = None


Maker = Callable[[Sequence[Item]], Iterable[Failure]]
"""Makes a batch of items, stores each as it is finished, and yields a `Failure` for each it could not."""


def version_of(keys: Iterable[str]) -> str:
    """Return the data version of a set of content keys; order and repetition do not matter."""
    return hashlib.sha256("\n".join(sorted(set(keys))).encode()).hexdigest()[:40]


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
    """
    by_key: dict[str, Item] = {}
    for item in items:
        by_key.setdefault(key(item), item)
    present = set(exists(list(by_key)))
    missing = [item_key for item_key in by_key if item_key not in present]
    failures: list[Failure] = []
    seconds = 0.0
    if missing:
        started = time.monotonic()
        with open_maker() as make, track(label, len(missing)) as advance:
            for batch, failed in _batches(label, missing, by_key, make, BatchSizes(batch_size), remedy):
                failures.extend(failed)
                advance(batch)
        seconds = time.monotonic() - started
        made = set(exists(missing))
    else:
        made = set()
    for failure in failures:
        logger.warning("%s: %s failed: %s", label, failure.item, failure.reason)
    told = {failure.item for failure in failures}
    lost = [k for k in missing if k not in made and name(by_key[k]) not in told]
    if lost:
        raise RuntimeError(f"{label}: {name(by_key[lost[0]])} was neither made nor reported as failed")
    finished = [item_key for item_key in by_key if item_key in present or item_key in made]
    return Outcome(
        version=version_of([*finished, *(f"failed {failure.item}" for failure in failures)]),
        total=len(by_key),
        computed=len(made),
        reused=len(present),
        failures=tuple(failures),
        seconds=seconds,
    )


def _batches(
    label: str,
    missing: Sequence[str],
    by_key: Mapping[str, Item],
    make: Maker[Item],
    sizes: BatchSizes,
    remedy: str,
) -> Iterator[tuple[int, list[Failure]]]:
    """Make items, and yield how many each batch had and which of them failed."""
    done = 0
    while done < len(missing):
        keys = missing[done : done + sizes.next]
        started = time.monotonic()
        failed: list[Failure] | None = None
        try:
            failed = list(make([by_key[key] for key in keys]))
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
        # Here the error is gone, and with it the tensors that its traceback held.
        if failed is None:
            sizes.did_not_fit(label, len(keys), remedy)
            continue
        if not failed:
            sizes.went_well(len(keys), time.monotonic() - started)
        done += len(keys)
        yield len(keys), failed
