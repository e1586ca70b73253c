"""Withdrawn pairs leave the files of a pool's table too: when that is due, and the note that it was done.

The note stands in the catalog and names the withdrawn pairs of the pool. It is written after the deed, and
taken away before withdrawn pairs leave the table once more, so that a run that ends halfway leaves the deed
due. What does not belong here: the deed itself (`table`), and which pairs are withdrawn (`pool.withdrawal`).
"""

from collections.abc import Iterable, Mapping

from onaspr_core.artifacts import content_key
from onaspr_core.pool.manifest_table import withdrawn_pairs
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace

_NOTES = "create table if not exists captions_forgotten (table_name text primary key, key text)"


def due(workspace: Workspace, leaving: Iterable[tuple[CaptionTable, Iterable[str]]]) -> dict[str, str]:
    """Return the tables whose files may hold withdrawn pairs, by name, with the note that tells otherwise.

    Args:
        workspace: Where.
        leaving: Tables, and the ids of the pairs that each holds and is about to lose.
    """
    withdrawn: dict[str, set[str]] = {}
    for pool, pair_id, _ in withdrawn_pairs(workspace):
        withdrawn.setdefault(pool, set()).add(pair_id)
    noted = dict(workspace.catalog.rows("select table_name, key from captions_forgotten") or ())
    found, again = {}, []
    for table, ids in leaving:
        if table.pool not in withdrawn:
            continue
        pairs = withdrawn[table.pool]
        key = content_key("captions forgotten", table=table.name, pairs=sorted(pairs))
        losing = not pairs.isdisjoint(ids)
        if losing and table.name in noted:
            again.append(table.name)
        if losing or noted.get(table.name) != key:
            found[table.name] = key
    if again:
        with workspace.catalog.write() as connection:
            connection.execute("delete from captions_forgotten where list_contains(?, table_name)", [again])
    return found


def note(workspace: Workspace, done: Mapping[str, str]) -> None:
    """Remember what `due` returned as done."""
    if done:
        with workspace.catalog.write() as connection:
            connection.execute(_NOTES)
            rows = [list(row) for row in done.items()]
            connection.executemany("insert or replace into captions_forgotten values (?, ?)", rows)
