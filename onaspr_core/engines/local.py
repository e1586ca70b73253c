"""Work in this process, which is what there is without a cluster, and what each worker of a cluster does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from onaspr_core.batches import BatchSizes, is_out_of_memory
from onaspr_core.engines.protocol import Input, Item, Maker, Making, Work

if TYPE_CHECKING:
    from onaspr_core.compute import Failure


class LocalEngine:
    """Does all work here, one batch after another."""

    def make(
        self,
        making: Making[Item],
        items: Sequence[Item],
        still_missing: Callable[[Sequence[Item]], list[Item]],
    ) -> Iterator[tuple[int, list[Failure]]]:
        """Make items in batches."""
        with making.open_maker() as make:
            yield from in_batches(making, items, make, BatchSizes(making.batch_size))

    def spread(self, work: Work[Input, Any], inputs: Iterable[Input], at_once: int) -> Iterator[Any]:
        """Work on all inputs at once."""
        yield from work(inputs)

    def close(self) -> None:
        """Hold nothing."""


def in_batches(
    making: Making[Item], items: Sequence[Item], make: Maker[Item], sizes: BatchSizes
) -> Iterator[tuple[int, list[Failure]]]:
    """Make items, and yield how many each batch had and which of them failed.

    Raises:
        UserError: when not even a single item fits into the GPU's memory.
    """
    done = 0
    while done < len(items):
        batch = items[done : done + sizes.next]
        started = time.monotonic()
        failed: list[Failure] | None = None
        try:
            failed = list(make(batch))
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
        # Here the error is gone, and with it the tensors that its traceback held.
        if failed is None:
            sizes.did_not_fit(making.label, len(batch), making.remedy)
            continue
        if not failed:
            sizes.went_well(len(batch), time.monotonic() - started)
        done += len(batch)
        yield len(batch), failed
