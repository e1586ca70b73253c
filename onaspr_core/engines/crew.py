"""The workers of a Ray cluster, as their home knows them: hired where there is room, and gone when they die.

What they are sent, and what becomes of the work of one that died, is the concern of `on_ray`; what they do,
that of `worker`.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from onaspr_core.engines.worker import Told, Worker, versions
from onaspr_core.errors import UserError
from onaspr_core.progress import logger
from onaspr_core.settings import ComputeSettings

PIECES_AHEAD = 2
"""Pieces of work that a worker has at once: the one that it is at, and the next."""

SECONDS_BETWEEN_LOOKS = 2.0
"""How often the cluster is looked at for room."""

SECONDS_BETWEEN_TICKS = 1.0
"""The longest wait for an answer, after which there may be room for more workers."""

FAILED_STARTS = 3
"""After so many workers in a row that died before they had begun, no more are hired."""


def connect_to(address: str) -> None:
    """Connect to a cluster, unless this process is connected to one already.

    Args:
        address: As `ray.init` takes it. Empty for RAY_ADDRESS, and where that is not set, for a cluster of
            this machine alone, which listens on loopback.

    Raises:
        UserError: when there is no cluster.
    """
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    address = address or os.environ.get("RAY_ADDRESS", "")
    own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address or "local", **quiet, **({} if address else own))
    except (OSError, RayError, RuntimeError, ValueError) as problem:
        raise UserError(
            f"the Ray cluster {address or 'of this machine'} cannot be reached: {problem}; check "
            "compute.address, or RAY_ADDRESS, and that it runs"
        ) from problem


@dataclass
class Piece:
    """Items that are sent to a worker together, and how many workers died over them."""

    items: list[Any]
    deaths: int = 0


@dataclass
class Hand:
    """A worker. `hello` is its first answer, None once that has come; `size` is how many items it asks for.

    `sent` are the answers that are awaited, in the order in which it will give them.
    """

    number: int
    actor: Any
    hello: Any
    size: int | None = None
    sent: deque[tuple[Any, Piece]] = field(default_factory=deque)

    @property
    def at_work(self) -> bool:
        """Whether it has begun."""
        return self.hello is None


class RayWorker(Worker):
    """A worker in a process of Ray's; what opens a session comes as a reference, and is fetched once."""

    def work_on(self, session: int, reference: Sequence[Any], items: Sequence[Any]) -> Told:
        """Do a piece of work of a session."""
        return self.work(session, lambda: ray.get(reference[0])(), items)


class Crew:
    """The workers that a run has hired."""

    def __init__(self, settings: ComputeSettings) -> None:
        """Hire nobody yet."""
        self.hands: list[Hand] = []
        self._settings = settings
        self._hired = 0
        self._failed_starts = 0
        self._looked = -math.inf
        self._places = 0
        self._last_seen = time.monotonic()

    def expect(self) -> None:
        """Wait for the first worker from now on."""
        self._last_seen = time.monotonic()

    @property
    def starting(self) -> int:
        """How many have been hired and have not begun."""
        return sum(not hand.at_work for hand in self.hands)

    def has_room(self) -> bool:
        """Whether one more may be hired: as many as the settings name, or as the machines have room for."""
        return len(self.hands) < (self._settings.workers or self._places_now())

    def hire(self) -> None:
        """Have Ray start a worker, as soon as there is room."""
        cpus, gpus = self._share()
        kind = ray.remote(RayWorker).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0)
        self._hired += 1
        actor: Any = kind.remote(max(1, int(cpus)))
        self.hands.append(Hand(self._hired, actor, actor.versions.remote()))

    def free(self) -> Iterator[Hand]:
        """Yield workers that can be sent a piece, the least busy first, until there are none."""
        while free := [hand for hand in self.hands if hand.at_work and len(hand.sent) < PIECES_AHEAD]:
            yield min(free, key=lambda hand: len(hand.sent))

    def wait(self) -> list[tuple[Hand, Any]]:
        """Wait a little for answers; return those that are there, each with its worker.

        Raises:
            UserError: when there has been no worker for as long as the settings allow.
        """
        awaited = {ref: hand for hand in self.hands for ref, _ in hand.sent}
        awaited |= {hand.hello: hand for hand in self.hands if not hand.at_work}
        if self.starting < len(self.hands):
            self._last_seen = time.monotonic()
        elif time.monotonic() - self._last_seen > self._settings.wait_seconds:
            raise self._no_room()
        if not awaited:
            time.sleep(SECONDS_BETWEEN_TICKS)
            return []
        ready, _ = ray.wait(list(awaited), num_returns=1, timeout=SECONDS_BETWEEN_TICKS)
        return [(awaited[ref], ref) for ref in ready]

    def begin(self, hand: Hand, its_versions: dict[str, str]) -> None:
        """Take in that a worker has begun.

        Raises:
            UserError: when items that it makes would not be those that are made here.
        """
        ours = versions()
        unlike = [
            f"{name} {its_versions.get(name)} (here {version})"
            for name, version in ours.items()
            if its_versions.get(name) != version
        ]
        if unlike:
            raise UserError(
                f"a worker of the Ray cluster has {', '.join(unlike)}; install the same checkout on "
                "all machines, with its constraints.txt"
            )
        hand.hello = None
        self._failed_starts = 0
        logger.info("worker %d has begun", hand.number)

    def bury(self, hand: Hand, problem: Exception) -> list[Piece]:
        """Forget a worker that died; return its work, with a death more for the piece that it was at.

        Raises:
            UserError: when workers die before they have begun.
        """
        self.hands.remove(hand)
        why = str(problem).strip().partition("\n")[0]
        if not hand.at_work:
            self._failed_starts += 1
            if self._failed_starts == FAILED_STARTS:
                raise UserError(
                    f"workers of the Ray cluster do not start: {why}; see Ray's logs there"
                ) from problem
        logger.warning("worker %d died: %s", hand.number, why)
        pieces = [piece for _, piece in hand.sent]
        for piece in pieces[:1]:
            piece.deaths += 1
        return pieces

    def dismiss(self, hands: Sequence[Hand]) -> None:
        """End workers, whatever they are at."""
        for hand in list(hands):
            self.hands.remove(hand)
            with suppress(RayError):
                ray.kill(hand.actor)

    def _places_now(self) -> int:
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            cpus, gpus = self._share()
            nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
            machines = [node["Resources"] for node in nodes if node["Alive"]]
            shares = [
                min(has.get("CPU", 0) / cpus, has.get("GPU", 0) / gpus if gpus else math.inf)
                for has in machines
            ]
            self._places = sum(map(int, shares))
        return self._places

    def _share(self) -> tuple[float, float]:
        """A worker's CPUs and GPUs."""
        asked = self._settings.gpus_per_worker
        gpus = float(_resources().get("GPU", 0) > 0) if asked == "auto" else asked
        return self._settings.cpus_per_worker, gpus

    def _no_room(self) -> UserError:
        cpus, gpus = self._share()
        has = {name: _resources().get(name, 0) for name in ("CPU", "GPU")}
        return UserError(
            f"the Ray cluster has had no worker for {self._settings.wait_seconds:g} s: one takes {cpus:g} "
            f"CPU and {gpus:g} GPU, and all machines have {has['CPU']:g} CPU and {has['GPU']:g} GPU, of "
            "which others may hold a part; add machines, or change compute.cpus_per_worker and "
            "compute.gpus_per_worker"
        )


def _resources() -> dict[str, float]:
    """What all machines of the cluster have."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found
