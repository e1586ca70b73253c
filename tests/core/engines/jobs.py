"""What the workers of a test do: notes in a folder, and what ends a process."""

import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray

from onaspr_core.compute import Failure, Outcome, run_items
from onaspr_core.engines.protocol import Maker
from onaspr_core.errors import StoreError, UserError
from onaspr_core.progress import logger
from onaspr_core.workspace import Workspace

KIND = "note"


class Pen:
    """The model of these workers."""

    device = "paper"


def note_of(workspace: Workspace, name: str) -> str:
    """Return what is stored for an item."""
    return workspace.store.read(KIND, key_of(name)).decode()


def key_of(name: str) -> str:
    return (name.encode().hex() * 40)[:40]


def run_notes(workspace: Workspace, names: Sequence[str], folder: Path, batch_size: int = 1) -> Outcome:
    """Store a note for each name. Names tell what happens on the way; see `_happens`."""
    return run_items(
        "notes",
        names,
        key=key_of,
        name=str,
        exists=lambda keys: workspace.store.existing(KIND, keys),
        open_maker=partial(_open, workspace, folder),
        batch_size=batch_size,
        engine=workspace.engine,
    )


def notes(workspace: Workspace) -> list[str]:
    """What is stored for all items."""
    keys = workspace.store.keys(KIND)
    return [workspace.store.read(KIND, key).decode() for key in keys]


@contextmanager
def _open(workspace: Workspace, folder: Path) -> Iterator[Maker[str]]:
    workspace.models.get("pen", Pen)
    (folder / f"opened-{os.getpid()}").touch()
    yield partial(_write, workspace, folder)


def _write(workspace: Workspace, folder: Path, names: Sequence[str]) -> Iterator[Failure]:
    for name in names:
        with (folder / "begun").open("a") as begun:
            begun.write(f"{name}\n")
        if failure := _happens(workspace, folder, name):
            yield failure
            continue
        place = f"{os.getpid()} {ray.get_runtime_context().get_node_id()}"
        workspace.store.write(KIND, key_of(name), ".txt", f"{name} {place}".encode(), {})


def _happens(workspace: Workspace, folder: Path, name: str) -> Failure | None:
    what = name.partition(" ")[0]
    if what == "slow":
        time.sleep(0.3)
    if what == "deadly" or (what == "fragile" and not (folder / name).exists()):
        (folder / name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "refused":
        raise UserError(f"{name} is not for us")
    if what == "away":
        raise StoreError(f"{name} does not answer")
    if what == "broken":
        raise ZeroDivisionError(name)
    if what == "catalog":
        workspace.catalog.rows("select 1")
    if what == "errand" and workspace.errands is not None:
        workspace.errands.append((_sign, (folder, name)))
        logger.warning("%s is on its way", name)
    return Failure(name, "burnt") if what == "burnt" else None


def _sign(workspace: Workspace, folder: Path, name: str) -> None:
    workspace.catalog.rows("select 1")
    (folder / name).write_text(str(os.getpid()))


def squares(folder: Path, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """The squares of numbers, each with two megabytes that no answer carries by itself."""
    for number in numbers:
        if number < 0 and not (folder / str(number)).exists():
            (folder / str(number)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield number * number, bytes(2_000_000)


def numbered(numbers: Iterable[int], sent: list[int]) -> Iterator[int]:
    """Yield numbers, and note those that were taken."""
    for number in numbers:
        sent.append(number)
        yield number
