"""What an engine does, and what it is handed.

An engine makes items, which are kept in the store by whoever makes them, and does work whose results come
back. It knows no stage and no model. All that it is handed can be sent to another process: an `open_maker`
and a `work` are functions of a module, with their arguments bound by `functools.partial`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from onaspr_core.compute import Failure

Item = TypeVar("Item")
Input = TypeVar("Input")
Result = TypeVar("Result")

Maker = Callable[[Sequence[Item]], "Iterable[Failure]"]
"""Makes a batch of items, stores each as it is finished, and yields a `Failure` for each it could not."""

Work = Callable[[Iterable[Input]], Iterable[Result]]
"""Yields the results of inputs, in any order; None says that none came for a while."""


@dataclass(frozen=True)
class Making(Generic[Item]):
    """How items are made.

    `open_maker` is entered where they are made, and only when something is. `batch_size` is the most items
    that a maker is handed at once, fewer where they do not fit into a GPU's memory; `remedy` is what helps
    where not even one fits. `name` is what a person knows an item by.
    """

    label: str
    open_maker: Callable[[], AbstractContextManager[Maker[Item]]]
    name: Callable[[Item], str]
    batch_size: int | Literal["auto"] = 1
    remedy: str = "use a GPU with more memory"


class Engine(Protocol):
    """Makes items and does work, somewhere."""

    def make(
        self,
        making: Making[Item],
        items: Sequence[Item],
        still_missing: Callable[[Sequence[Item]], list[Item]],
    ) -> Iterator[tuple[int, list[Failure]]]:
        """Make items, and yield how many are done with and which of them failed.

        Args:
            making: How.
            items: Those that are missing.
            still_missing: Those of some items that do not exist; asked where a worker was lost.
        """

    def spread(self, work: Work[Input, Any], inputs: Iterable[Input], at_once: int) -> Iterator[Any]:
        """Yield the results of work on inputs, in any order; None where none came for a while.

        Args:
            work: What to do.
            inputs: Read only as fast as they are worked on.
            at_once: How many inputs are handed to a worker at a time.
        """

    def close(self) -> None:
        """Let go of what the engine holds."""
