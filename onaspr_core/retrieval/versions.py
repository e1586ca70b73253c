"""Which state of a pool the caption index holds, as the catalog tells without opening the index.

It names the version of the LanceDB table too, so that whoever reads while another process writes reads what
was finished last. What does not belong here: the rows themselves (`index`), and what was found among them
(`neighbours`).
"""

from collections.abc import Sequence
from typing import NamedTuple

from onaspr_core.errors import UserError
from onaspr_core.workspace import Workspace

_STATES = """create table if not exists caption_states (
    pool text primary key, fingerprint text, version text, pairs bigint, table_version bigint)"""


class CaptionState(NamedTuple):
    """A pool's captions as embedded with the model of this fingerprint.

    `version` is that of the content, `table_version` LanceDB's number of the table's state.
    """

    pool: str
    fingerprint: str
    version: str
    pairs: int
    table_version: int


def caption_state(workspace: Workspace, pool: str, fingerprint: str) -> CaptionState:
    """Return the state of a pool in the index.

    Args:
        workspace: Where to look.
        pool: The pool's name.
        fingerprint: The embedder's.

    Raises:
        UserError: when the captions have not been embedded with this model, or the pool is empty.
    """
    rows = workspace.catalog.rows(
        "select * from caption_states where pool = ? and fingerprint = ?", [pool, fingerprint]
    )
    if not rows:
        raise UserError(f"the captions of pool {pool} are not embedded yet; materialize caption_embeddings")
    state = CaptionState(*rows[0])
    if not state.pairs:
        raise UserError(
            f"pool {pool} is empty: none of its videos became a clip; look at the failures of pool_manifest "
            "and pool_clips, and at `path` and `videos` of the pool in the settings"
        )
    return state


def caption_versions(workspace: Workspace, fingerprint: str) -> dict[str, str]:
    """Return the version of each pool's captions, by pool; none of other embedders."""
    rows = workspace.catalog.rows(
        "select pool, version from caption_states where fingerprint = ? order by pool", [fingerprint]
    )
    return dict(rows or ())


def table_versions(workspace: Workspace, fingerprint: str) -> dict[str, int]:
    """Return the version of the table that readers of each pool open, by pool; none of other embedders."""
    rows = workspace.catalog.rows(
        "select pool, table_version from caption_states where fingerprint = ?", [fingerprint]
    )
    return dict(rows or ())


def store_states(workspace: Workspace, states: Sequence[CaptionState]) -> None:
    """Replace all states by these; equal ones write nothing."""
    if set(workspace.catalog.rows("select * from caption_states") or ()) == set(states):
        return
    with workspace.catalog.write() as connection:
        connection.execute(_STATES)
        connection.execute("delete from caption_states")
        connection.executemany("insert into caption_states values (?, ?, ?, ?, ?)", states)
