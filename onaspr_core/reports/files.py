"""Report files as work items: written when their inputs changed, left alone otherwise.

A file's key is the hash of everything it shows. Which key a written file has is noted in a small JSON
beside the files, one per kind of report, because several reports share an experiment's folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onaspr_core.compute import Failure, Maker, Outcome, run_items
from onaspr_core.errors import UserError
from onaspr_core.settings import Experiment
from onaspr_core.whole_files import write_whole
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class ReportFile:
    """One file of a report: its path inside the report folder, its key, and how to make its bytes."""

    path: str
    key: str
    make: Callable[[], bytes]


def report_folder(workspace: Workspace, e: Experiment) -> Path:
    """Where an experiment's tables, figures and gallery lie."""
    return workspace.reports_path / e.name


def write_files(label: str, folder: Path, files: Sequence[ReportFile], *, prune: bool = False) -> Outcome:
    """Write the files whose key is new; each is written aside and moved.

    With `prune`, files that an earlier run of this report wrote and this one does not want are removed
    at the end. A file whose input is damaged (a UserError while it is made) is a Failure.
    """
    ledger = _Ledger(folder / f".{label.replace(' ', '-')}.json")

    @contextmanager
    def open_maker() -> Iterator[Maker[ReportFile]]:
        yield lambda batch: _write(folder, ledger, batch)

    outcome = run_items(
        label,
        files,
        key=lambda file: f"{file.key} {file.path}",
        name=lambda file: file.path,
        exists=lambda keys: ledger.present(folder).intersection(keys),
        open_maker=open_maker,
        batch_size=64,
    )
    if prune:
        ledger.prune(folder, {file.path for file in files})
    return outcome


class _Ledger:
    """Which key each written file has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: dict[str, str] = {}
        if path.is_file():
            try:
                self.keys = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError:
                self.keys = {}

    def present(self, folder: Path) -> set[str]:
        return {f"{key} {path}" for path, key in self.keys.items() if (folder / path).is_file()}

    def note(self, files: Iterable[ReportFile]) -> None:
        self.keys.update({file.path: file.key for file in files})
        self._save()

    def prune(self, folder: Path, wanted: Collection[str]) -> None:
        gone = [path for path in self.keys if path not in wanted]
        for path in gone:
            (folder / path).unlink(missing_ok=True)
            del self.keys[path]
        if gone:
            self._save()

    def _save(self) -> None:
        text = json.dumps(self.keys, indent=0, sort_keys=True)
        write_whole(self.path, text.encode())


def _write(folder: Path, ledger: _Ledger, batch: Sequence[ReportFile]) -> Iterator[Failure]:
    written = []
    for file in batch:
        try:
            data = file.make()
        except UserError as problem:
            yield Failure(file.path, str(problem))
            continue
        write_whole(folder / file.path, data)
        written.append(file)
    ledger.note(written)
