from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import pytest
import torch

from onaspr_core.batches import BatchSizes, is_out_of_memory
from onaspr_core.compute import Failure, Maker, Outcome, row_outcome, run_items
from onaspr_core.errors import UserError


class Kitchen:
    """Makes items into a set and remembers what it was asked."""

    def __init__(self, bad: frozenset[str] = frozenset()) -> None:
        self.made: set[str] = set()
        self.batches: list[list[str]] = []
        self.opened = 0
        self.bad = bad

    @contextmanager
    def open(self) -> Iterator[Maker[str]]:
        self.opened += 1

        def make(batch: Sequence[str]) -> Iterator[Failure]:
            self.batches.append(list(batch))
            for item in batch:
                if item in self.bad:
                    yield Failure(item, "burnt")
                else:
                    self.made.add(item)

        yield make

    def run(self, items: Sequence[str], batch_size: int | Literal["auto"] = 2) -> Outcome:
        return run_items(
            "dishes",
            items,
            key=lambda item: item,
            name=lambda item: item,
            exists=lambda keys: self.made.intersection(keys),
            open_maker=self.open,
            batch_size=batch_size,
        )


def test_what_is_missing_is_made_in_batches_and_what_exists_is_reused() -> None:
    kitchen = Kitchen()
    first = kitchen.run(["a", "b", "c"])
    assert (first.total, first.computed, first.reused) == (3, 3, 0)
    assert kitchen.batches == [["a", "b"], ["c"]]
    second = kitchen.run(["a", "b", "c", "d"])
    assert (second.total, second.computed, second.reused) == (4, 1, 3)
    assert kitchen.batches[-1] == ["d"]


def test_nothing_is_opened_when_nothing_is_missing() -> None:
    kitchen = Kitchen()
    kitchen.run(["a"])
    again = kitchen.run(["a"])
    assert (kitchen.opened, again.computed, again.seconds) == (1, 0, 0.0)


def test_equal_items_are_made_once() -> None:
    kitchen = Kitchen()
    outcome = kitchen.run(["a", "a", "b", "a"])
    assert outcome.total == 2
    assert kitchen.batches == [["a", "b"]]


def test_the_version_tells_content_and_not_order() -> None:
    assert Kitchen().run(["a", "b"]).version == Kitchen().run(["b", "a"]).version
    assert Kitchen().run(["a", "b"]).version != Kitchen().run(["a", "c"]).version


def test_a_failed_item_is_told_and_the_others_are_kept_and_it_is_tried_again() -> None:
    kitchen = Kitchen(bad=frozenset({"b"}))
    outcome = kitchen.run(["a", "b", "c"])
    assert outcome.failures == (Failure("b", "burnt"),)
    assert (outcome.computed, kitchen.made) == (2, {"a", "c"})
    kitchen.bad = frozenset()
    mended = kitchen.run(["a", "b", "c"])
    assert (mended.computed, mended.reused, mended.failures) == (1, 2, ())
    assert mended.version != outcome.version


def test_a_maker_that_loses_an_item_silently_is_a_bug_and_raises() -> None:
    kitchen = Kitchen(bad=frozenset({"b"}))

    @contextmanager
    def open_silent() -> Iterator[Maker[str]]:
        yield lambda batch: []

    with pytest.raises(RuntimeError, match="neither made nor reported"):
        run_items(
            "dishes",
            ["a"],
            key=str,
            name=str,
            exists=lambda keys: kitchen.made.intersection(keys),
            open_maker=open_silent,
        )


def test_an_exception_keeps_what_was_finished_before_it() -> None:
    kitchen = Kitchen()

    @contextmanager
    def open_fragile() -> Iterator[Maker[str]]:
        with kitchen.open() as make:

            def fragile(batch: Sequence[str]) -> Iterator[Failure]:
                if "c" in batch:
                    raise MemoryError("no room")
                yield from make(batch)

            yield fragile

    with pytest.raises(MemoryError):
        run_items(
            "dishes",
            ["a", "b", "c"],
            key=str,
            name=str,
            exists=lambda keys: kitchen.made.intersection(keys),
            open_maker=open_fragile,
        )
    assert kitchen.made == {"a", "b"}


def test_rows_that_were_there_are_reused() -> None:
    outcome = row_outcome(before={"a", "b"}, after=["b", "c"], failures=[Failure("d", "empty")])
    assert (outcome.total, outcome.computed, outcome.reused, len(outcome.failures)) == (3, 1, 1, 1)


class SmallGpu(Kitchen):
    """Has room for some items at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    @contextmanager
    def open(self) -> Iterator[Maker[str]]:
        with super().open() as make:

            def crowded(batch: Sequence[str]) -> Iterator[Failure]:
                if len(batch) > self.room:
                    self.batches.append(list(batch))
                    raise torch.OutOfMemoryError("CUDA out of memory")
                yield from make(batch)

            yield crowded


def test_a_batch_that_does_not_fit_is_halved_and_no_item_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    gpu = SmallGpu(room=2)
    outcome = gpu.run([*"abcdefg"], batch_size=8)
    assert (outcome.computed, outcome.failures) == (7, ())
    assert [len(batch) for batch in gpu.batches] == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert "7 at once do not fit into the GPU's memory; going on with 3" in caplog.text


def test_an_item_that_does_not_fit_alone_ends_the_run_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"dishes: .* for a single item; use a GPU with more memory"):
        SmallGpu(room=0).run(["a", "b"], batch_size=2)


@pytest.mark.parametrize(
    ("problem", "of_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("CUDA out of memory"), False),
    ],
)
def test_full_memory_is_told_from_other_errors(problem: Exception, of_memory: bool) -> None:
    assert is_out_of_memory(problem) == of_memory


def test_another_error_is_no_matter_of_memory() -> None:
    @contextmanager
    def open_() -> Iterator[Maker[str]]:
        def make(batch: Sequence[str]) -> Iterator[Failure]:
            raise RuntimeError("out of luck")
            yield

        yield make

    with pytest.raises(RuntimeError, match="out of luck"):
        run_items("dishes", ["a"], key=str, name=str, exists=lambda keys: [], open_maker=open_)


def test_auto_doubles_the_batch_while_that_pays_and_then_stays() -> None:
    sizes = BatchSizes("auto")
    seen = []
    for seconds in (9.0, 1.0, 1.2, 1.5, 3.0, 1.5, 1.5):
        seen.append(sizes.next)
        sizes.went_well(sizes.next, seconds)
    assert seen == [1, 1, 2, 4, 8, 4, 4]


def test_auto_stays_below_what_did_not_fit() -> None:
    sizes = BatchSizes("auto")
    for _ in range(4):
        sizes.went_well(sizes.next, 1.0)
    sizes.did_not_fit("videos", sizes.next, "")
    assert sizes.next == 4
    sizes.went_well(4, 0.1)
    assert sizes.next == 4


def test_a_batch_that_is_not_full_says_nothing() -> None:
    sizes = BatchSizes("auto")
    for items, seconds in ((1, 1.0), (1, 1.0), (1, 9.0)):
        sizes.went_well(items, seconds)
    assert sizes.next == 2


def test_a_batch_with_failures_says_nothing() -> None:
    kitchen = Kitchen(bad=frozenset("ab"))
    kitchen.run([*"abcdefgh"], batch_size="auto")
    assert {len(batch) for batch in kitchen.batches[:4]} == {1}
