"""Report files as work items: written when their inputs changed, left alone otherwise.

A file's key is the hash of everything it shows. Which key a written file has is noted in a small JSON
beside the files, one per kind of report, because several reports share an experiment's folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from onaspr_core.compute import Failure, Maker, Outcome, run_items
from onaspr_core.errors import UserError
from onaspr_core.folders import Folder
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class ReportFile:
    """One file of a report: its path inside the report folder, its key, and how to make its bytes."""

    path: str
    key: str
    make: Callable[[], bytes]


def report_folder(workspace: Workspace, e: Experiment) -> Folder:
    """Where an experiment's tables, figures and gallery lie."""
    return Folder(workspace.reports_path) / e.name


def write_files(label: str, folder: Folder, files: Sequence[ReportFile], *, prune: bool = False) -> Outcome:
    """Write the files whose key is new; each appears whole.

    With `prune`, files that an earlier run of this report wrote and this one does not want are removed
    at the end. A file whose input is damaged (a UserError while it is made) is a Failure.
    """
    ledger = _Ledger(folder, f".{label.replace(' ', '-')}.json")

    @contextmanager
    def open_maker() -> Iterator[Maker[ReportFile]]:
        yield lambda batch: _write(folder, ledger, batch)

    outcome = run_items(
        label,
        files,
        key=lambda file: f"{file.key} {file.path}",
        name=lambda file: file.path,
        exists=lambda keys: ledger.present().intersection(keys),
        open_maker=open_maker,
        batch_size=64,
    )
    if prune:
        ledger.prune({file.path for file in files})
    return outcome


class _Ledger:
    """Which key each written file has."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.folder, self.name = folder, name
        self.keys: dict[str, str] = {}
        with suppress(FileNotFoundError, ValueError):
            self.keys = json.loads(folder.read(name))

    def present(self) -> set[str]:
        inside = sorted({path.rpartition("/")[0] for path in self.keys})
        listed = zip(inside, self.folder.map(self.folder.names, inside), strict=True)
        there = {f"{at}/{name}".lstrip("/") for at, names in listed for name in names}
        return {f"{key} {path}" for path, key in self.keys.items() if path in there}

    def note(self, files: Iterable[ReportFile]) -> None:
        self.keys.update({file.path: file.key for file in files})
        self._save()

    def prune(self, wanted: Collection[str]) -> None:
        gone = [path for path in self.keys if path not in wanted]
        for path in gone:
            with suppress(FileNotFoundError):
                self.folder.delete(path)
            del self.keys[path]
        if gone:
            self._save()

    def _save(self) -> None:
        text = json.dumps(self.keys, indent=0, sort_keys=True)
        self.folder.write(self.name, text.encode())


def _write(folder: Folder, ledger: _Ledger, batch: Sequence[ReportFile]) -> Iterator[Failure]:
    written = []
    for file in batch:
        try:
            data = file.make()
        except UserError as problem:
            yield Failure(file.path, str(problem))
            continue
        folder.write(file.path, data)
        written.append(file)
    ledger.note(written)
