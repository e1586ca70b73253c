"""Work spread over a Ray cluster, on workers that live as long as the run and keep their models.

Each worker has a piece of work and the next one, so that it never waits and no more is sent than that. One
that dies, or whose machine does, costs what it was at: that piece is done again by another, item by item, and
an item over which workers die again and again is a `Failure`. Workers are hired where there is work and room,
also on machines that join later (`crew`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError

from onaspr_core.compute import Failure
from onaspr_core.engines.crew import Crew, Hand, Piece, connect_to
from onaspr_core.engines.protocol import Input, Item, Making, Work
from onaspr_core.engines.worker import Made, MakingSession, News, Session, SpreadSession
from onaspr_core.errors import UserError
from onaspr_core.progress import logger
from onaspr_core.workspace import Workspace

MOST_TRIES = 3
"""Over so many workers' deaths a piece of work is given up."""


@dataclass
class _Again:
    """What becomes of a piece whose worker died: what is done again, and what is done with."""

    pieces: list[Piece] = field(default_factory=list)
    done: list[tuple[Piece, Any]] = field(default_factory=list)


class RayEngine:
    """Makes items and does work on the workers of a cluster; it connects when there is something to do."""

    def __init__(self, workspace: Workspace, connect: Callable[[], None] | None = None) -> None:
        """Name whose work it is; `connect` is called instead of connecting to the address in the settings."""
        self._workspace = workspace
        address = workspace.settings.compute.address
        self._connect = connect or (lambda: connect_to(address))
        self._crew = Crew(workspace.settings.compute)
        self._sessions = 0

    def make(
        self,
        making: Making[Item],
        items: Sequence[Item],
        still_missing: Callable[[Sequence[Item]], list[Item]],
    ) -> Iterator[tuple[int, list[Failure]]]:
        """Make items on the workers, which store them; each batch is told as soon as it is done."""

        def again(piece: Piece) -> _Again:
            left = still_missing(piece.items)
            done = [(Piece([one]), Made([], None)) for one in piece.items if one not in left]
            if piece.deaths < MOST_TRIES or len(piece.items) > 1:
                return _Again([Piece([one], piece.deaths) for one in left], done)
            why = f"{piece.deaths} workers died over it, most often for want of memory; see Ray's logs"
            failures = [Failure(making.name(one), why, passing=True) for one in left]
            return _Again(done=[*done, (Piece(left), Made(failures, None))] if left else done)

        size = 1 if making.batch_size == "auto" else making.batch_size
        for piece, made in self._run(MakingSession(making), iter(items), size, again):
            if made is not None:
                yield len(piece.items), made.failures

    def spread(self, work: Work[Input, Any], inputs: Iterable[Input], at_once: int) -> Iterator[Any]:
        """Do work on the workers; results come home."""

        def again(piece: Piece) -> _Again:
            if piece.deaths < MOST_TRIES:
                return _Again([piece])
            raise UserError(
                f"{piece.deaths} workers died over the same work, most often for want of memory; give a "
                "worker a larger share of a machine with compute.cpus_per_worker, and see Ray's logs"
            )

        for _, results in self._run(SpreadSession(work), iter(inputs), at_once, again):
            yield from [None] if results is None else results

    def close(self) -> None:
        """End the workers."""
        self._crew.dismiss(self._crew.hands)

    def _run(
        self, session: Session, items: Iterator[Any], size: int, again: Callable[[Piece], _Again]
    ) -> Iterator[tuple[Piece, Any]]:
        """Send pieces of work and yield each with its result, which is None where none came for a while."""
        self._connect()
        self._sessions += 1
        opening = (self._sessions, [ray.put(session)])
        crew, waiting = self._crew, deque[Piece]()
        crew.expect()
        for hand in crew.hands:
            hand.size = None

        def fresh(size: int) -> bool:
            """Put a piece of what has not been sent yet in line; say whether there was one."""
            if taken := list(islice(items, size)):
                waiting.append(Piece(taken))
            return bool(taken)

        try:
            while True:
                for hand in crew.free():
                    if not waiting and not fresh(hand.size or size):
                        break
                    piece = waiting.popleft()
                    hand.sent.append((hand.actor.work_on.remote(*opening, piece.items), piece))
                while crew.has_room() and (len(waiting) > crew.starting or fresh(size)):
                    crew.hire()
                if not waiting and not fresh(size) and not any(hand.sent for hand in crew.hands):
                    return
                answers = crew.wait()
                if not answers:
                    yield Piece([]), None
                for hand, ref in answers:
                    told = self._answer(hand, ref, again)
                    waiting.extendleft(reversed(told.pieces))
                    yield from told.done
        finally:
            # Whoever ended this early does not wait for what is left.
            crew.dismiss([hand for hand in crew.hands if hand.sent])

    def _answer(self, hand: Hand, ref: Any, again: Callable[[Piece], _Again]) -> _Again:
        """Take in an answer, or that there will be none."""
        try:
            answer = ray.get(ref)
        except RayActorError as problem:
            found = _Again()
            for piece in self._crew.bury(hand, problem):
                became = again(piece) if piece.deaths else _Again([piece])
                found.pieces += became.pieces
                found.done += became.done
            return found
        except ObjectLostError:
            # Its answer lay on a machine that is gone. Whether the worker is, its next answer tells.
            return _Again([_taken_back(hand, ref)])
        if ref == hand.hello:
            self._crew.begin(hand, answer)
            return _Again()
        piece = _taken_back(hand, ref)
        self._hear(hand, answer.news)
        if answer.trouble is not None:
            raise answer.trouble.error(answer.trouble.text)
        if isinstance(answer.result, Made):
            hand.size = answer.result.next_size
        return _Again(done=[(piece, answer.result)])

    def _hear(self, hand: Hand, news: News) -> None:
        """Do at home what a worker's workspace would have done."""
        for name, device in news.models.items():
            self._workspace.models.note(name, device)
        self._workspace.store.damaged |= news.damaged
        self._workspace.store.repaired += news.repaired
        for act, arguments in news.errands:
            act(self._workspace, *arguments)
        for level, line in news.log:
            logger.log(level, "worker %d: %s", hand.number, line)


def _taken_back(hand: Hand, ref: Any) -> Piece:
    """The piece that an answer is about, which is not awaited any more."""
    piece = next(piece for one, piece in hand.sent if one == ref)
    hand.sent = deque((one, piece) for one, piece in hand.sent if one != ref)
    return piece
