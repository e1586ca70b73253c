"""`python -m onaspr_core.artifacts verify`: read a whole store, and say what of it is not as it was written.

Every item's record, size and SHA-256 are checked, that every shard of the catalog is there, every shard's
SHA-256, and that catalog and captions can be opened. With `--remove` damaged items are set aside and damaged
shards are deleted, for their assets to make them again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, NamedTuple

from onaspr_core.artifacts import ArtifactStore
from onaspr_core.errors import PlainError, UserError
from onaspr_core.folders import AT_ONCE, Folder, explained
from onaspr_core.pool.clip_catalog import lose_shards, used_shards
from onaspr_core.pool.shards import delete_shard, list_shards
from onaspr_core.settings import default_path, load_settings
from onaspr_core.stored_kinds import asset_of
from onaspr_core.workspace import Workspace

SHARDS = "shard"
READERS = os.cpu_count() or 1
Tell = Callable[[str], None]


class Looked(NamedTuple):
    """One file that was read: how many bytes there are, and what is wrong; `missing` where it is gone."""

    name: str
    size: int
    trouble: str = ""
    missing: bool = False


@dataclass
class Tally:
    """What there is of a kind; items that are set aside and wait to be made again are no fault."""

    kind: str
    items: int = 0
    size: int = 0
    missing: int = 0
    damaged: int = 0
    aside: int = 0


def verify(workspace: Workspace, *, remove: bool = False, tell: Tell = print) -> list[Tally]:
    """Check a store and return a tally for each kind; memory is bounded by the largest folder's names.

    Args:
        workspace: Whose store it is.
        remove: Set damaged items aside, and delete damaged shards.
        tell: Called with a line for each fault.
    """
    at_once = READERS if Folder(workspace.shards_path).is_local else max(READERS, AT_ONCE)
    catalog = _database("catalog", _catalog, workspace, tell)
    with ThreadPoolExecutor(at_once) as readers:
        tallies = [_kind(workspace.store, kind, remove, readers, tell) for kind in workspace.store.kinds()]
        tallies.append(_shards(workspace, not catalog.damaged, remove, readers, tell))
    return [*tallies, catalog, _database("captions", _captions, workspace, tell)]


def _kind(store: ArtifactStore, kind: str, remove: bool, readers: ThreadPoolExecutor, tell: Tell) -> Tally:
    tally = Tally(kind)
    for keys, aside in store.folders(kind):
        tally.aside += aside
        for one in readers.map(partial(_look_at, store, kind), keys):
            _count(tally, one)
            if one.trouble:
                why = f"{kind} {one.name}: {one.trouble}"
                tell(str(store.set_aside(kind, one.name, one.trouble)) if remove else why)
    return tally


def _look_at(store: ArtifactStore, kind: str, key: str) -> Looked:
    try:
        record = store.peek(kind, key)
        if record is None:
            return Looked(key, 0, f"its record is not as it was written; materialize {asset_of(kind)}")
        then = f"materialize {asset_of(kind, record)}"
        with store.open(kind, key, record) as file:
            digest, size = _digest(file)
    except FileNotFoundError:
        return Looked(key, 0, f"its file is gone; materialize {asset_of(kind)}", missing=True)
    if digest == record["sha256"]:
        return Looked(key, size)
    return Looked(key, size, f"its {size} bytes are not the {record.get('bytes')} that were written; {then}")


def _shards(
    workspace: Workspace, has_catalog: bool, remove: bool, readers: ThreadPoolExecutor, tell: Tell
) -> Tally:
    tally, root = Tally(SHARDS), workspace.shards_path
    folder, present = Folder(root), list_shards(root)
    gone = used_shards(workspace) - present if has_catalog else set()

    def look(name: str) -> Looked:
        with folder.open(name) as file:
            digest, size = _digest(file)
        whole = name == f"clips-{digest[:16]}.tar"
        return Looked(name, size, "" if whole else "its bytes are not those that were written")

    tally.missing = len(gone)
    for name in sorted(gone):
        tell(f"{SHARDS} {name}: its file is gone; materialize pool_clips")
    for one in readers.map(look, sorted(present)):
        _count(tally, one)
        if one.trouble:
            if remove:
                delete_shard(root, one.name)
                gone.add(one.name)
            done = "it is deleted" if remove else "delete it"
            tell(f"{SHARDS} {one.name}: {one.trouble}; {done}, and materialize pool_clips")
    if remove and gone and has_catalog:
        lose_shards(workspace, gone)
    return tally


def _count(tally: Tally, one: Looked) -> None:
    tally.items += 1
    tally.size += one.size
    tally.missing += one.missing
    tally.damaged += bool(one.trouble) and not one.missing


def _database(
    name: str, look: Callable[[Workspace], tuple[int, int]], workspace: Workspace, tell: Tell
) -> Tally:
    try:
        tables, size = look(workspace)
    except (UserError, OSError, RuntimeError, ValueError) as problem:
        tell(f"{name}: cannot be opened: {problem}")
        return Tally(name, damaged=1)
    return Tally(name, tables, size)


def _catalog(workspace: Workspace) -> tuple[int, int]:
    import duckdb

    path = workspace.catalog.path
    try:
        tables = workspace.catalog.rows("select table_name from information_schema.tables") or []
        for (table,) in tables:
            workspace.catalog.rows(f'select count(*) from "{table}"')
    except duckdb.Error as problem:
        raise UserError(str(problem)) from problem
    return len(tables), path.stat().st_size if path.exists() else 0


def _captions(workspace: Workspace) -> tuple[int, int]:
    from onaspr_core.retrieval.table import connect

    sizes = Folder(workspace.lance_path).sizes()
    if not sizes:
        return 0, 0
    with explained(workspace.lance_path):
        database = connect(workspace.lance_path)
        names = list(database.list_tables().tables)
        for name in names:
            database.open_table(name).count_rows()
    return len(names), sum(sizes.values())


def _digest(file: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 of what a file holds and how many bytes that is, in blocks of a megabyte."""
    digest, size = hashlib.sha256(), 0
    while block := file.read(1 << 20):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def as_text(tallies: Sequence[Tally]) -> Iterator[str]:
    """Lay out tallies as a table."""
    yield f"{'kind':<20} {'items':>9} {'megabytes':>11} {'missing':>8} {'damaged':>8} {'set aside':>9}"
    for one in tallies:
        counts = f"{one.missing:8d} {one.damaged:8d} {one.aside:9d}"
        yield f"{one.kind:<20} {one.items:9d} {one.size / 1e6:11.2f} {counts}"


def main(arguments: list[str] | None = None) -> int:
    """Print faults and a table; 1 where something is wrong, 2 where the settings are or the store is away."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.artifacts", description=__doc__)
    command = parser.add_subparsers(required=True, metavar="verify").add_parser(
        "verify", help="check a store"
    )
    command.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    command.add_argument("--remove", action="store_true", help="set aside what is damaged")
    chosen = parser.parse_args(arguments)
    try:
        workspace = Workspace(load_settings(chosen.settings))
        started = time.monotonic()
        tallies = verify(workspace, remove=chosen.remove)
        seconds = time.monotonic() - started
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 2
    print(*as_text(tallies), sep="\n")
    size = sum(one.size for one in tallies)
    print(f"{size / 1e9:.2f} GB in {seconds:.1f} s, {size / 1e9 / max(seconds, 1e-9):.2f} GB/s")
    return 1 if any(one.missing or one.damaged for one in tallies) else 0
