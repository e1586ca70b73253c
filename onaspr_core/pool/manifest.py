"""The manifest: which captioned videos each pool consists of, in the catalog.

Every pair has a rank, a 64-bit number hashed from the pool's seed and the pair's id, and a pool of size N
is the N smallest ranks: subsets are nested, and a pair's rank never depends on other rows. A pair whose
caption or file cannot be used stays in its place with a reason, so that mending it moves no other pair.
What does not belong here: opening videos (`clips`) and embedding captions (`retrieval`).
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, row_outcome
from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media
from onaspr_core.pool.source_files import hash_media
from onaspr_core.pool.sources import SourceRow, read_source
from onaspr_core.settings import ClipSettings, PoolSettings
from onaspr_core.workspace import Workspace

_PAIRS = """create table if not exists manifest (
    pool text, pair_id text, rank bigint, caption text, source text, source_sha256 text, clip_key text,
    status text, reason text, extra text, key text)"""


@dataclass(frozen=True)
class Pair:
    """A captioned video of a pool; `clip_key` is None where its file or caption cannot be used."""

    pool: str
    id: str
    caption: str
    rank: int
    source: str
    clip_key: str | None


class _Row(NamedTuple):
    """A row of the table manifest, in the order of its columns."""

    pool: str
    pair_id: str
    rank: int
    caption: str
    source: str
    source_sha256: str
    clip_key: str | None
    status: str
    reason: str
    extra: str
    key: str


def pool_rank(seed: int, pair_id: str) -> int:
    """Return a pair's rank: the top 63 bits of SHA-256 over "seed", a line feed and the id, 0 … 2^63 − 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{pair_id}".encode()).digest()[:8], "big") >> 1


def clip_key(source_sha256: str, clip: ClipSettings, media: Media) -> str:
    """Return the content key of the clip that these settings cut from the span of a file with these bytes."""
    return content_key(
        "clip",
        version=code_versions.CLIP,
        source=source_sha256,
        start=media.start,
        stop=media.stop,
        **clip.model_dump(),
    )


def build_manifest(workspace: Workspace) -> Outcome:
    """Bring every pool of the settings into the catalog; rows gone from a source disappear.

    Items are rows: new or changed ones count as computed. Files are read to hash them, and again only when
    their size or time changes. A missing file or an empty caption is a failure and stays as a row.

    Raises:
        UserError: when a source cannot be read or lacks a column.
    """
    counts: Counter[str] = Counter()
    pools = workspace.settings.pools
    chosen = {name: _choose(pool, workspace.settings.base, counts) for name, pool in pools.items()}
    usable = [row for rows in chosen.values() for _, row in rows if not row.problem]
    hashes = hash_media(workspace, [Media(row.path) for row in usable])
    after = [
        _manifest_row(name, pools[name].clip, rank, row, hashes.get(Media(row.path)))
        for name, rows in chosen.items()
        for rank, row in rows
    ]
    stored = _rows(workspace)
    before = stored or []
    if stored is None or set(before) != set(after):
        _store(workspace, after)
    failures = [Failure(f"{row.pool}/{row.pair_id}", row.reason) for row in after if row.status != "present"]
    outcome = row_outcome(
        before={row.key for row in before},
        after=[row.key for row in after if row.status == "present"],
        failures=failures,
    )
    facts = {
        **_moved({(row.pool, row.pair_id): row for row in before}, {(r.pool, r.pair_id): r for r in after}),
        "source_rows": counts["rows"],
        "duplicate_ids": counts["duplicates"],
        "rows_without_id": counts["nameless"],
        "pairs_by_pool": dict(Counter(row.pool for row in after)),
        "failures_by_status": dict(Counter(row.status for row in after if row.status != "present")),
    }
    return replace(outcome, facts=facts)


def _moved(before: Mapping[tuple[str, str], _Row], after: Mapping[tuple[str, str], _Row]) -> dict[str, int]:
    """Count the pairs that are new, changed, and gone from the source."""
    return {
        "pairs_new": len(after.keys() - before.keys()),
        "pairs_changed": sum(before[pair] != after[pair] for pair in before.keys() & after.keys()),
        "pairs_vanished": len(before.keys() - after.keys()),
    }


def listed_pairs(workspace: Workspace, pool: str) -> list[Pair]:
    """Return all pairs of a pool by rank, whether or not their clips exist.

    Raises:
        UserError: when the manifest has not been materialized.
    """
    return _pairs(workspace, pool, "true")


def pool_pairs(workspace: Workspace, pool: str) -> list[Pair]:
    """Return the pairs of a pool whose clips are ready, by rank.

    Raises:
        UserError: when the manifest or the clips have not been materialized.
    """
    return _pairs(workspace, pool, "clip_key in (select key from clips where status = 'ready')")


def pairs_named(workspace: Workspace, pair_id: str) -> list[tuple[Pair, dict[str, str]]]:
    """Return the pairs of this id in all pools, each with the columns of its source that no pool uses.

    Empty where there is no manifest.
    """
    rows = workspace.catalog.rows(
        "select pool, pair_id, caption, rank, source, clip_key, extra from manifest "
        "where pair_id = ? order by pool",
        [pair_id],
    )
    return [(Pair(*pair), json.loads(extra)) for *pair, extra in rows or ()]


def unusable_pairs(workspace: Workspace, pool: str) -> list[tuple[str, str]]:
    """Return id and reason of the pairs of a pool that have no clip, by rank.

    Raises:
        UserError: when the manifest or the clips have not been materialized.
    """
    rows = workspace.catalog.rows(
        "select pair_id, manifest.status, manifest.reason, clips.reason "
        "from manifest left join clips on clips.key = clip_key "
        "where pool = ? and clips.status is distinct from 'ready' order by rank, pair_id",
        [pool],
    )
    if rows is None:
        raise _not_made(pool)
    # The manifest's own words for a missing file name its path, and reasons are there to be counted.
    known = {"missing": "there is no such file", "present": "no clip was cut: pool_clips says why"}
    return [(id_, cut or known.get(status) or refused) for id_, status, refused, cut in rows]


def _pairs(workspace: Workspace, pool: str, condition: str) -> list[Pair]:
    rows = workspace.catalog.rows(
        "select pool, pair_id, caption, rank, source, clip_key from manifest "
        f"where pool = ? and {condition} order by rank, pair_id",
        [pool],
    )
    if rows is None:
        raise _not_made(pool)
    return [Pair(*row) for row in rows]


def _not_made(pool: str) -> UserError:
    return UserError(f"pool {pool} has no manifest or clips yet; materialize pool_manifest, then pool_clips")


def _choose(settings: PoolSettings, base: Path, counts: Counter[str]) -> list[tuple[int, SourceRow]]:
    """The N rows of smallest rank, the first of each id, by rank."""
    seen: set[int] = set()

    def ranked() -> Iterator[tuple[int, SourceRow]]:
        for row in read_source(settings, base):
            counts["rows"] += 1
            rank = pool_rank(settings.seed, row.id)
            if not row.id:
                counts["nameless"] += 1
            elif rank in seen:
                counts["duplicates"] += 1
            else:
                seen.add(rank)
                yield rank, row

    rows = ranked()
    if settings.size is None:
        return sorted(rows, key=lambda ranked_row: ranked_row[0])
    return heapq.nsmallest(settings.size, rows, key=lambda ranked_row: ranked_row[0])


def _manifest_row(pool: str, clip: ClipSettings, rank: int, row: SourceRow, sha256: str | None) -> _Row:
    status, reason = "present", ""
    if row.problem:
        status, reason = "refused", row.problem
    elif sha256 is None:
        status, reason = "missing", f"there is no file {row.path}"
    cut = clip_key(sha256, clip, Media(row.path)) if sha256 else None
    key = content_key("pair", pool=pool, id=row.id, rank=rank, caption=row.caption, clip=cut, status=status)
    extra = json.dumps(row.extra, ensure_ascii=False)
    return _Row(pool, row.id, rank, row.caption, row.path, sha256 or "", cut, status, reason, extra, key)


def _rows(workspace: Workspace) -> list[_Row] | None:
    """All rows, or None where there has never been a manifest."""
    rows = workspace.catalog.rows("select * from manifest")
    return None if rows is None else [_Row._make(row) for row in rows]


def _store(workspace: Workspace, rows: Sequence[_Row]) -> None:
    fields = [(name, pa.int64() if name == "rank" else pa.string()) for name in _Row._fields]
    table = pa.Table.from_pylist([row._asdict() for row in rows], pa.schema(fields))
    with workspace.catalog.write() as connection:
        connection.execute(_PAIRS)
        connection.register("listed", table)
        connection.execute("delete from manifest")
        connection.execute("insert into manifest select * from listed")
