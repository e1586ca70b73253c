"""Which state of a pool the caption index holds, as the catalog tells without opening the index.

What does not belong here: the rows themselves (`index`), and what was found among them (`neighbours`).
"""

from collections.abc import Sequence

from onaspr_core.errors import UserError
from onaspr_core.workspace import Workspace

_VERSIONS = """create table if not exists caption_versions (
    pool text primary key, fingerprint text, version text, pairs bigint)"""


def caption_version(workspace: Workspace, pool: str, fingerprint: str) -> tuple[str, int]:
    """Return the version of a pool's rows in the index, and how many there are.

    Args:
        workspace: Where to look.
        pool: The pool's name.
        fingerprint: The embedder's.

    Raises:
        UserError: when the captions have not been embedded with this model, or the pool is empty.
    """
    rows = workspace.catalog.rows(
        "select version, pairs from caption_versions where pool = ? and fingerprint = ?", [pool, fingerprint]
    )
    if not rows:
        raise UserError(f"the captions of pool {pool} are not embedded yet; materialize caption_embeddings")
    version, pairs = rows[0]
    if not pairs:
        raise UserError(
            f"pool {pool} is empty: none of its videos became a clip; look at the failures of pool_manifest "
            "and pool_clips, and at `path` and `videos` of the pool in the settings"
        )
    return str(version), int(pairs)


def caption_versions(workspace: Workspace, fingerprint: str) -> dict[str, str]:
    """Return the version of each pool's rows in the index, by pool; none of other embedders."""
    rows = workspace.catalog.rows(
        "select pool, version from caption_versions where fingerprint = ? order by pool", [fingerprint]
    )
    return dict(rows or ())


def store_versions(workspace: Workspace, versions: Sequence[tuple[str, str, str, int]]) -> None:
    """Replace all versions by these rows of (pool, fingerprint, version, pairs); equal ones write nothing."""
    if set(workspace.catalog.rows("select * from caption_versions") or ()) == set(versions):
        return
    with workspace.catalog.write() as connection:
        connection.execute(_VERSIONS)
        connection.execute("delete from caption_versions")
        connection.executemany("insert into caption_versions values (?, ?, ?, ?)", versions)
