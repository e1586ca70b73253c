"""From chosen rows and content hashes to the rows of the manifest, in DuckDB: statuses, keys, what changed.

Of usable pairs of a pool that are equal, the one of the smallest rank is the first, so that a pair's status
is the same in every larger pool. What does not belong here: choosing (`choice`) and storing
(`manifest_table`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.pool.leakage import BenchmarkItem, Leak
from onaspr_core.pool.manifest_table import SCHEMA
from onaspr_core.pool.media import Media
from onaspr_core.pool.settings import ClipSettings, PoolSettings

_JUDGED = """
create temp table looked as select
    pool, id, rank, caption, sha256, start, stop, refuse_captions, refuse_videos, refuse_benchmark,
    case when problem is not null then 'refused' when sha256 is null then 'missing' else 'present' end
        as found
from chosen join rules using (pool);

create temp table found_leaks as
    select l.pool, l.id, 'caption' as kind, min(b.benchmark) as benchmark,
        arg_min(b.id, [b.benchmark, b.id]) as item
    from looked l join benchmark b on b.pool = l.pool and lower(squash(b.caption)) = lower(l.caption)
    where found = 'present' group by l.pool, l.id
    union all
    select l.pool, l.id, 'video', min(b.benchmark), arg_min(b.id, [b.benchmark, b.id])
    from looked l join benchmark b on b.pool = l.pool and b.sha256 = l.sha256
    where found = 'present' group by l.pool, l.id;

create temp table by_video as select
    *, found = 'present' and not (refuse_benchmark and item is not null) as fit,
    first_value(id) over (partition by pool, sha256, start, stop, fit order by rank, id) as first_video
from looked left join (
    select pool, id, min(benchmark) as benchmark, arg_min(item, [benchmark, item]) as item
    from found_leaks group by pool, id
) using (pool, id);

create temp table by_caption as select
    *, fit and not (refuse_videos and first_video <> id) as single,
    first_value(id) over (partition by pool, caption, single order by rank, id) as first_caption
from by_video;

create temp table judged as select
    pool, id, sha256, start, stop, found,
    case
        when found <> 'present' then found
        when not fit then 'benchmark'
        when not single then 'equal video'
        when refuse_captions and first_caption <> id then 'equal caption'
        else 'present' end as status,
    case
        when not fit then 'item ' || item || ' of the benchmark ' || benchmark || ' has its caption or video'
        when not single then 'its video is that of pair ' || first_video
        when refuse_captions and first_caption <> id then 'its caption is that of pair ' || first_caption
        else '' end as reason
from by_caption;
"""

_LISTED = """
create temp table listed as select
    pool, id as pair_id, rank, caption, path, member, chosen.start, chosen.stop, licence,
    coalesce(chosen.sha256, '') as source_sha256, clip_key, status,
    case found
        when 'refused' then problem
        when 'missing' then unread
        else reason end as reason,
    extra,
    left(sha256(concat_ws(chr(10), 'pair', pool, id, rank, caption, coalesce(clip_key, ''), status)), 40)
        as key
from chosen join judged using (pool, id) left join clip_keys c
    on status = 'present' and c.of_pool = pool and c.of_sha256 = chosen.sha256
    and c.of_start is not distinct from chosen.start and c.of_stop is not distinct from chosen.stop
"""


def clip_key(source_sha256: str, clip: ClipSettings, media: Media) -> str:
    """Return the content key of the clip that these settings cut from the span of media with these bytes."""
    return content_key(
        "clip",
        version=code_versions.CLIP,
        source=source_sha256,
        start=media.start,
        stop=media.stop,
        **clip.model_dump(),
    )


def derive(
    connection: duckdb.DuckDBPyConnection,
    chosen: pa.Table,
    before: pa.Table,
    pools: Mapping[str, PoolSettings],
    benchmark: Mapping[str, Sequence[BenchmarkItem]],
) -> tuple[pa.Table, dict[str, int], list[Leak]]:
    """Return the manifest's rows, counts for people, and the pairs that a benchmark has too.

    Args:
        connection: A fresh one of `open_scan`.
        chosen: The rows of all pools: the columns of `CHOSEN`, `pool`, and `sha256` or why it is null,
            `unread`.
        before: The manifest as it was.
        pools: Their settings.
        benchmark: The items that each pool is compared with.
    """
    connection.register("chosen", chosen)
    connection.register("before", before)
    connection.register("rules", _rules(pools))
    connection.register("benchmark", _benchmark(benchmark))
    connection.execute(_JUDGED)
    connection.register("clip_keys", _clip_keys(connection, pools))
    connection.execute(_LISTED)
    listed = connection.execute("select * from listed").to_arrow_table().cast(SCHEMA)
    leaks = connection.execute(
        "select pool, id, kind, benchmark, item from found_leaks order by all"
    ).fetchall()
    # Arrow sorts rows by their numbers, DuckDB with all that they hold: a tenth of the time.
    rows = listed.sort_by([(name, "ascending") for name in ("pool", "rank", "pair_id")])
    return rows, _facts(connection), [Leak(*leak) for leak in leaks]


def _rules(pools: Mapping[str, PoolSettings]) -> pa.Table:
    asked = ("equal_captions", "equal_videos", "benchmark_items")
    names = ("refuse_captions", "refuse_videos", "refuse_benchmark")
    refused = {
        name: pa.array([getattr(pool, rule) == "refuse" for pool in pools.values()], pa.bool_())
        for name, rule in zip(names, asked, strict=True)
    }
    return pa.table({"pool": pa.array(list(pools), pa.string()), **refused})


def _benchmark(items: Mapping[str, Sequence[BenchmarkItem]]) -> pa.Table:
    rows = [{"pool": pool, **item._asdict()} for pool, own in items.items() for item in own]
    return pa.Table.from_pylist(
        rows, pa.schema([(name, pa.string()) for name in ("pool", *BenchmarkItem._fields)])
    )


def _clip_keys(connection: duckdb.DuckDBPyConnection, pools: Mapping[str, PoolSettings]) -> pa.Table:
    """The clip key of each content and span; those of the manifest before serve again."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("of_pool", "of_sha256", "of_start", "of_stop", "clip_key")
    }
    for pool, settings in pools.items():
        known = _still_right(connection, pool, settings.clip)
        rows = connection.execute(
            "select distinct j.sha256, j.start, j.stop, b.clip_key from judged j left join "
            "(select distinct source_sha256, start, stop, clip_key from before "
            "where pool = ? and ? and clip_key is not null) b "
            "on b.source_sha256 = j.sha256 and b.start is not distinct from j.start "
            "and b.stop is not distinct from j.stop where j.pool = ? and status = 'present'",
            [pool, known, pool],
        ).fetchall()
        for sha256, start, stop, key in rows:
            made = key or clip_key(sha256, settings.clip, Media("", "", start, stop))
            row = (pool, sha256, start, stop, made)
            for name, value in zip(columns, row, strict=True):
                columns[name].append(value)
    types = {name: pa.float64() if name in ("of_start", "of_stop") else pa.string() for name in columns}
    return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})


def _still_right(connection: duckdb.DuckDBPyConnection, pool: str, clip: ClipSettings) -> bool:
    """Whether the keys of the manifest before are those of these clip settings: one tells for all."""
    row = connection.execute(
        "select source_sha256, start, stop, clip_key from before "
        "where pool = ? and clip_key is not null limit 1",
        [pool],
    ).fetchone()
    return row is not None and clip_key(row[0], clip, Media("", "", row[1], row[2])) == row[3]


def _facts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count the pairs that are new, changed and gone, and those that equal an earlier pair or a benchmark."""
    names = ", ".join(name for name in SCHEMA.names if name not in ("pool", "pair_id"))
    queries = {
        "pairs_new": "select count(*) from listed anti join before using (pool, pair_id)",
        "pairs_changed": f"select count(*) from listed l join before b using (pool, pair_id) "
        f"where row({_of('l', names)}) is distinct from row({_of('b', names)})",
        "pairs_vanished": "select count(*) from before anti join listed using (pool, pair_id)",
        "equal_captions": "select count(*) from by_caption where single and first_caption <> id",
        "equal_videos": "select count(*) from by_video where fit and first_video <> id",
        "benchmark_captions": "select count(*) from found_leaks where kind = 'caption'",
        "benchmark_videos": "select count(*) from found_leaks where kind = 'video'",
    }
    return {name: int(connection.execute(query).fetchall()[0][0]) for name, query in queries.items()}


def _of(table: str, names: str) -> str:
    return ", ".join(f"{table}.{name}" for name in names.split(", "))
