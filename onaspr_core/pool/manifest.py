"""The manifest: which captioned videos each pool consists of, in the catalog.

Every pair has a rank, a 63-bit number hashed from the pool's seed and the pair's id, and a pool of size N
is the N smallest ranks: subsets are nested, and a pair's rank never depends on other rows. A pair whose
caption or file cannot be used stays in its place with a reason, so that mending it moves no other pair.
What does not belong here: reading sources (`choice`), judging rows (`manifest_rows`), opening videos
(`clips`) and embedding captions (`retrieval`).
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, Preview, row_outcome, version_of
from onaspr_core.errors import UserError
from onaspr_core.pool.choice import CHOSEN, Wish, choose
from onaspr_core.pool.choice import pool_rank as pool_rank
from onaspr_core.pool.leakage import BenchmarkItem, benchmark_items, leak_table, note_leaks
from onaspr_core.pool.listed_files import stamp
from onaspr_core.pool.manifest_rows import clip_key as clip_key
from onaspr_core.pool.manifest_rows import derive
from onaspr_core.pool.manifest_table import (
    PAIR_COLUMNS,
    SCHEMA,
    pair_of,
    pairs_where,
    store_manifest,
    stored_manifest,
    stored_stamps,
)
from onaspr_core.pool.manifest_table import Pair as Pair
from onaspr_core.pool.scan import open_scan
from onaspr_core.pool.source_files import LookedAt, Part, look_at_parts
from onaspr_core.pool.source_forms import open_listing, source_files
from onaspr_core.pool.sources import source_of
from onaspr_core.pool.withdrawal import pairs_named_by, takedown_names
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class _Chosen:
    """What one pool chose: rows, ids withdrawn, counts, takedown list, and its source's state, if known."""

    rows: pa.Table
    withdrawn: frozenset[str]
    facts: Mapping[str, int]
    takedown: Sequence[str]
    stamp: str | None


def build_manifest(workspace: Workspace) -> Outcome:
    """Bring every pool of the settings into the catalog; rows gone from a source disappear.

    Items are rows: new or changed ones count as computed. A source is read again when its files' size or time
    changes, and so is each video, to hash it. A missing file or an empty caption is a failure and stays as a
    row; an item that was withdrawn does not.

    Raises:
        UserError: when a source cannot be read or lacks a column.
    """
    pools = workspace.settings.pools
    stored = stored_manifest(workspace)
    before = SCHEMA.empty_table() if stored is None else stored
    chosen = {name: _choose(workspace, name, stored) for name in pools}
    parts = {name: _parts(one.rows) for name, one in chosen.items()}
    seen = look_at_parts(workspace, (part for own in parts.values() for part in own if part is not None))
    rows = [_hashed(name, one.rows, parts[name], seen) for name, one in chosen.items()]
    benchmark = {name: benchmark_items(workspace, name) for name in pools}
    with open_scan(workspace.catalog.path.parent) as connection:
        after, counts, leaks = derive(connection, pa.concat_tables(rows), before, pools, benchmark)
    moved = stored is None or any(counts[name] for name in ("pairs_new", "pairs_changed", "pairs_vanished"))
    stamps = {name: (one.stamp, one.facts) for name, one in chosen.items() if one.stamp}
    withdrawn = [row for name, one in chosen.items() for row in _withdrawn(before, name, one.withdrawn)]
    if moved or withdrawn or stamps != stored_stamps(workspace):
        store_manifest(workspace, after, stamps, withdrawn)
    note_leaks(workspace, leaks)
    outcome = _outcome(before, after, chosen, counts)
    preview = Preview(markdown=leak_table(leaks)) if leaks else None
    version = version_of([outcome.version, *_rules(workspace, chosen, benchmark)])
    return replace(outcome, version=version, preview=preview)


def _rules(
    workspace: Workspace, chosen: Mapping[str, _Chosen], benchmark: Mapping[str, Sequence[BenchmarkItem]]
) -> Iterator[str]:
    """What else later stages go by, as content: takedown lists, and the captions that pools must not have."""
    for name, one in chosen.items():
        if one.takedown:
            yield content_key("takedown", pool=name, names=one.takedown)
        if workspace.settings.pools[name].benchmark_items == "refuse":
            yield content_key("refused", pool=name, captions=sorted({i.caption for i in benchmark[name]}))


def listed_pairs(workspace: Workspace, pool: str) -> list[Pair]:
    """Return all pairs of a pool by rank, whether or not their clips exist.

    Raises:
        UserError: when the manifest has not been materialized.
    """
    return _pairs(workspace, pool, "true")


def pool_pairs(workspace: Workspace, pool: str) -> list[Pair]:
    """Return the pairs of a pool whose clips are ready and whose captions may be used, by rank.

    Raises:
        UserError: when the manifest or the clips have not been materialized.
    """
    return _pairs(workspace, pool, _usable(workspace, pool))


def pool_captions(workspace: Workspace, pool: str) -> pa.Table:
    """Return rank, pair_id, clip_key and caption of the pairs that `pool_pairs` returns, by rank.

    Raises:
        UserError: when the manifest or the clips have not been materialized.
    """
    rows = workspace.catalog.table(
        "select rank, pair_id, clip_key, caption from manifest m "
        f"where pool = ? and {_usable(workspace, pool)} order by rank, pair_id",
        [pool],
    )
    if rows is None:
        raise _not_made(pool)
    return rows


def _usable(workspace: Workspace, pool: str) -> str:
    """The SQL of whether a pair of the manifest `m` has a clip, and a caption that the pool may have."""
    condition = "clip_key in (select key from clips where status = 'ready')"
    if workspace.settings.pools[pool].benchmark_items == "refuse":
        condition += " and not exists (from near_captions n where n.pool = m.pool and n.caption = m.caption)"
    return condition


def pairs_named(workspace: Workspace, pair_id: str) -> list[tuple[Pair, dict[str, Any]]]:
    """Return the pairs of this id in all pools, each with the columns of its source that no pool uses.

    Empty where there is no manifest.
    """
    rows = workspace.catalog.rows(
        f"select {PAIR_COLUMNS}, extra from manifest where pair_id = ? order by pool, rank", [pair_id]
    )
    return [(pair_of(row), json.loads(extra)) for *row, extra in rows or ()]


def unusable_pairs(workspace: Workspace, pool: str) -> list[tuple[str, str]]:
    """Return id and reason of the pairs of a pool that have no clip against its will, by rank.

    What the pool's own rules leave out, such as equal captions, is not among them.

    Raises:
        UserError: when the manifest or the clips have not been materialized.
    """
    rows = workspace.catalog.rows(
        "select pair_id, manifest.status, manifest.reason, clips.reason "
        "from manifest left join clips on clips.key = clip_key "
        "where pool = ? and manifest.status in ('present', 'refused', 'missing') "
        "and clips.status is distinct from 'ready' order by rank, pair_id",
        [pool],
    )
    if rows is None:
        raise _not_made(pool)
    return [(id_, cut or _in_general(status, reason)) for id_, status, reason, cut in rows]


def unusable_share(workspace: Workspace, pool: str) -> float:
    """Return the share, 0 … 1, of a pool's pairs that `unusable_pairs` tells of.

    Raises:
        UserError: when the manifest or the clips have not been materialized.
    """
    return len(unusable_pairs(workspace, pool)) / max(len(listed_pairs(workspace, pool)), 1)


def _in_general(status: str, reason: str) -> str:
    """A reason without the path or line that it names, so that equal ones can be counted."""
    if status == "present":
        return "no clip was cut: pool_clips says why"
    told = re.sub(r"^line \d+ of \S+( table)?", "a line of the table", reason)
    return re.sub(r"^there is no file .*", "there is no such file", told)


def _pairs(workspace: Workspace, pool: str, condition: str) -> list[Pair]:
    pairs = pairs_where(workspace, f"pool = ? and {condition}", [pool])
    if pairs is None:
        raise _not_made(pool)
    return pairs


def _not_made(pool: str) -> UserError:
    return UserError(f"pool {pool} has no manifest or clips yet; materialize pool_manifest, then pool_clips")


def _choose(workspace: Workspace, name: str, stored: pa.Table | None) -> _Chosen:
    """The rows of a pool: those of the manifest where its source is as it was, else those of a new scan."""
    settings = workspace.settings.pools[name]
    source = source_of(settings, workspace.settings.base)
    takedown = takedown_names(settings, workspace.settings.base)
    files = source_files(source)
    seen = stamp(files) if files else None
    asked = {"clip", "equal_captions", "equal_videos", "benchmark_items"}
    now = content_key(
        "pool source",
        version=code_versions.MANIFEST,
        settings=settings.model_dump(mode="json", exclude=asked),
        base=[source.path, source.videos],
        files=seen,
        takedown=takedown,
    )
    then, facts = stored_stamps(workspace).get(name, ("", {}))
    if stored is not None and seen and now == then:
        return _Chosen(_as_chosen(_of_pool(stored, name)), frozenset(), facts, takedown, now)
    wish = Wish(settings.size, settings.seed, settings.filter, settings.caption_limit, takedown)
    with open_scan(workspace.catalog.path.parent, source.path) as connection:
        listing = open_listing(connection, source)
        choice = choose(connection, listing, wish, f"rows of pool {name}")
    facts = {**choice.facts, "files_unfinished": len(listing.unfinished) + len(listing.unreadable)}
    # What a list names may have been a pair's id before it left the source.
    withdrawn = frozenset(choice.withdrawn).union(takedown)
    if takedown and stored is not None:
        withdrawn |= pairs_named_by(_of_pool(stored, name), takedown)
    return _Chosen(choice.rows, withdrawn, facts, takedown, now if seen else None)


def _of_pool(rows: pa.Table, pool: str) -> pa.Table:
    return rows.filter(pc.equal(rows["pool"], pool))


def _as_chosen(rows: pa.Table) -> pa.Table:
    """What was chosen, told from the rows of the manifest that it became."""
    refused = pc.if_else(pc.equal(rows["status"], "refused"), rows["reason"], None)
    renamed = rows.rename_columns(["id" if name == "pair_id" else name for name in rows.column_names])
    return renamed.append_column("problem", refused).select(CHOSEN)


def _parts(rows: pa.Table) -> list[Part | None]:
    """The file, or the part of one, of each row's video; None for a row that cannot be used anyway."""
    columns = (rows[name].to_pylist() for name in ("problem", "path", "member"))
    return [None if problem else (path, member) for problem, path, member in zip(*columns, strict=True)]


def _hashed(pool: str, rows: pa.Table, parts: Sequence[Part | None], seen: LookedAt) -> pa.Table:
    for name, found in (("sha256", seen.hashes), ("unread", seen.reasons)):
        column = [found.get(part) if part else None for part in parts]
        rows = rows.append_column(name, pa.array(column, pa.string()))
    return rows.append_column("pool", pa.array([pool] * len(rows), pa.string()))


def _withdrawn(before: pa.Table, pool: str, ids: frozenset[str]) -> list[tuple[str, str, str | None]]:
    """Pool and id of withdrawn pairs, and the clip key of those that the pool had."""
    own = _of_pool(before, pool)
    keys = dict(zip(own["pair_id"].to_pylist(), own["clip_key"].to_pylist(), strict=True))
    return [(pool, id_, keys.get(id_)) for id_ in sorted(ids)]


def _outcome(
    before: pa.Table, after: pa.Table, chosen: Mapping[str, _Chosen], counts: Mapping[str, int]
) -> Outcome:
    present = pc.equal(after["status"], "present")
    failed = after.filter(pc.invert(present))
    columns = (failed[name].to_pylist() for name in ("pool", "pair_id", "reason"))
    failures = [Failure(f"{pool}/{id_}", reason) for pool, id_, reason in zip(*columns, strict=True)]
    outcome = row_outcome(
        before=set(before["key"].to_pylist()),
        after=after.filter(present)["key"].to_pylist(),
        failures=failures,
    )
    counted: Counter[str] = Counter()
    for one in chosen.values():
        counted.update(one.facts)
    facts = {
        **counts,
        **counted,
        "pairs_by_pool": dict(Counter(after["pool"].to_pylist())),
        "failures_by_status": dict(Counter(failed["status"].to_pylist())),
    }
    return replace(outcome, facts=facts)
