"""A worker of a cluster: it keeps its models, makes what it is sent, and tells its home what happened.

It writes items to the store itself. It never opens the catalog, which one process at a time may have: what is
to be written there goes home with the results. Nothing here needs Ray.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from typing import Any, Generic, NoReturn

from onaspr_core import code_versions
from onaspr_core.batches import BatchSizes
from onaspr_core.catalog import Catalog
from onaspr_core.compute import Failure
from onaspr_core.engines.local import LocalEngine, in_batches
from onaspr_core.engines.protocol import Input, Item, Making, Work
from onaspr_core.errors import PlainError
from onaspr_core.progress import logger
from onaspr_core.settings import Settings
from onaspr_core.versions import library_versions
from onaspr_core.workspace import Errand, Workspace

LIBRARIES = ("torch", "diffusers", "transformers", "sentence-transformers", "av", "numpy", "safetensors")
"""Those whose versions may show in what is made."""


@dataclass
class News:
    """What happened to a worker's workspace since it last told."""

    models: dict[str, str | None] = field(default_factory=dict)
    """Devices by the names of the models that were loaded."""
    damaged: set[tuple[str, str]] = field(default_factory=set)
    repaired: int = 0
    errands: list[Errand] = field(default_factory=list)
    log: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Trouble:
    """An error that ended a piece of work: what to raise at home, with its text or traceback."""

    error: type[Exception]
    text: str


@dataclass(frozen=True)
class Told:
    """What came of a piece of work, and its news."""

    result: Any
    trouble: Trouble | None
    news: News


@dataclass(frozen=True)
class Made:
    """What came of items: those that failed, and how many to send next time (None: as many as at first)."""

    failures: list[Failure]
    next_size: int | None


Session = Callable[[], AbstractContextManager[Callable[[Sequence[Any]], Any]]]
"""Opened once by a worker, it gives what is then called with each piece of work."""


@dataclass(frozen=True)
class MakingSession(Generic[Item]):
    """Makes items as a process without workers does."""

    making: Making[Item]

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Sequence[Item]], Made]]:
        """Open the maker."""
        sizes = BatchSizes(self.making.batch_size)
        with self.making.open_maker() as make:

            def made(items: Sequence[Item]) -> Made:
                batches = in_batches(self.making, items, make, sizes)
                return Made([failure for _, failed in batches for failure in failed], sizes.next)

            yield made


@dataclass(frozen=True)
class SpreadSession(Generic[Input]):
    """Does work and sends its results home."""

    work: Work[Input, Any]

    @contextmanager
    def __call__(self) -> Iterator[Callable[[Iterable[Input]], list[Any]]]:
        """Open nothing."""
        yield lambda inputs: [one for one in self.work(inputs) if one is not None]


class NoCatalog(Catalog):
    """The catalog of a worker, which must not be opened."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise RuntimeError(f"a worker must not open the catalog {self.path}")

    write = read = rows = table = _refuse  # type: ignore[assignment]


class WorkerWorkspace(Workspace):
    """A workspace without a catalog, whose errands are run at home."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        super().__init__(settings)
        self.catalog = NoCatalog(self.catalog.path)
        self.engine = LocalEngine()
        self.processors = _share[0]
        self.errands: list[Errand] = []
        self._told_models = 0

    def news(self) -> News:
        """Return what happened since the last call."""
        store, names = self.store, self.models.loaded
        loaded = {name: self.models.device(name) for name in names[self._told_models :]}
        found = News(loaded, store.damaged, store.repaired, self.errands)
        store.damaged, store.repaired = set(), 0
        self.errands, self._told_models = [], len(names)
        return found


_share = [1]
"""How many processors a worker may use."""

_OPEN: dict[str, WorkerWorkspace] = {}


def workspace_of(settings: Settings) -> WorkerWorkspace:
    """Return this process's workspace for some settings: one for all that is sent, with its models."""
    key = settings.model_dump_json()
    if key not in _OPEN:
        _OPEN[key] = WorkerWorkspace(settings)
    return _OPEN[key]


class _Lines(logging.Handler):
    """Keeps log lines until they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, record.getMessage()))


class Worker:
    """Does pieces of work, one after another, for as long as it lives."""

    def __init__(self, processors: int) -> None:
        """Hold no model yet; use so many processors."""
        _share[0] = processors
        self._session, self._opened = -1, ExitStack()
        self._do: Callable[[Sequence[Any]], Any] | None = None
        self._lines = _Lines()
        logger.addHandler(self._lines)
        logger.setLevel(logging.INFO)

    def versions(self) -> dict[str, str]:
        """Return what must be equal on all machines for items to be."""
        return versions()

    def work(self, session: int, open_session: Session, items: Sequence[Any]) -> Told:
        """Do a piece of work of a session; the first of a new one ends the one before.

        Any error but the process's end is told.
        """
        result, trouble = None, None
        try:
            if session != self._session or self._do is None:
                self._opened.close()
                self._opened = ExitStack()
                self._do = self._opened.enter_context(open_session())
                self._session = session
            result = self._do(items)
        except PlainError as problem:
            trouble = Trouble(type(problem), str(problem))
        except Exception:
            trouble = Trouble(RuntimeError, traceback.format_exc())
        return Told(result, trouble, self._news())

    def _news(self) -> News:
        news = News()
        for one in _OPEN.values():
            own = one.news()
            news.models |= own.models
            news.damaged |= own.damaged
            news.repaired += own.repaired
            news.errands += own.errands
        news.log, self._lines.lines = self._lines.lines, []
        return news


def versions() -> dict[str, str]:
    """Return the versions of what makes items: the project's code versions, and libraries."""
    own = {name: value for name, value in vars(code_versions).items() if name.isupper()}
    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
    found = {"onaspr": digest}
    for name in LIBRARIES:
        try:
            found |= library_versions(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found
