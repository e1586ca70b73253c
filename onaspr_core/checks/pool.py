"""Checks of the pools: a row for every clip, how many videos are of no use, and what a benchmark has too."""

from collections import Counter

import duckdb
import pyarrow.compute as pc

from onaspr_core.catalog import CONFIG
from onaspr_core.checks.finding import Finding, every, percent
from onaspr_core.pool.leakage import Leak, near_pairs, noted_leaks
from onaspr_core.pool.manifest import pool_captions, unusable_pairs, unusable_share
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.rows import wanted_rows
from onaspr_core.retrieval.table import CaptionTable
from onaspr_core.workspace import Workspace

_EXTRA = "a row without a clip"
_UNLIKE = f"""with seen as (
        select key, count(*) as count,
            any_value({{'caption': caption, 'rank': rank, 'pairs': pairs}}) as content
        from held group by key),
    asked as (select key, {{'caption': caption, 'rank': rank, 'pairs': pairs}} as content from wanted)
    select coalesce(asked.content, seen.content).pairs[1].id as pair_id,
        case when asked.content is null then '{_EXTRA}'
            when count is distinct from 1 then coalesce(count, 0) || ' rows'
            else 'its row has another caption, clip or rank' end
    from asked full join seen using (key)
    where asked.content is distinct from seen.content or count > 1 order by pair_id"""
"""Each caption whose row is not as it should be, by the first of its pairs, and why."""


def every_clip_has_one_row(workspace: Workspace) -> Finding:
    """Compare the caption index, row by row, with the captions and clips of all pools whose clips are ready.

    Raises:
        UserError: when manifest or clips have not been materialized.
    """
    fingerprint = embedder(workspace).fingerprint
    problems: list[tuple[str, str]] = []
    clips = captions = rows = extra = 0
    for pool in workspace.settings.pools:
        wanted = wanted_rows(workspace, fingerprint, pool)
        held = CaptionTable(workspace.lance_path, fingerprint, pool).rows()
        with duckdb.connect(":memory:", config=CONFIG) as connection:
            connection.register("wanted", wanted)
            connection.register("held", held)
            found = connection.execute(_UNLIKE).fetchall()
        problems += [(f"{pool}/{pair_id}", what) for pair_id, what in found]
        extra += sum(what == _EXTRA for _, what in found)
        clips += sum(pc.list_value_length(wanted["pairs"]).to_pylist())
        captions += wanted.num_rows
        rows += held.num_rows
    return every(
        "captions have a row with all of their clips",
        captions + extra,
        problems,
        "materialize caption_embeddings",
        clips=clips,
        captions=captions,
        rows=rows,
    )


def few_videos_are_unusable(workspace: Workspace) -> Finding:
    """Compare each pool's share of pairs without a clip with `checks.unreadable_share`.

    Raises:
        UserError: when manifest or clips have not been materialized.
    """
    allowed = workspace.settings.checks.unreadable_share
    shares: dict[str, float] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    for pool in workspace.settings.pools:
        lost = unusable_pairs(workspace, pool)
        shares[pool] = unusable_share(workspace, pool)
        reasons.update((pool, reason) for _, reason in lost)
    worst = max(shares, key=lambda pool: shares[pool], default="")
    many = [pool for pool, share in shares.items() if share > allowed]
    said = f"at most {percent(shares.get(worst, 0.0))} of any pool's videos became no clip"
    if many:
        said = (
            f"{percent(shares[worst])} of the videos of pool {worst} became no clip, more than "
            f"{percent(allowed)}; look at the reasons, and at `path` and `videos` of the pool in the settings"
        )
    rows = [(pool, reason, str(count)) for (pool, reason), count in reasons.most_common()]
    facts = {"unusable_share_by_pool": shares, "allowed_share": allowed}
    return Finding(not many, said, facts, ("pool", "reason", "videos"), rows)


def no_benchmark_is_borrowed_from(workspace: Workspace) -> Finding:
    """Compare each pool's share of pairs that a benchmark has too with `checks.leaked_share`.

    Pairs that prompts cannot borrow from do not count.

    Raises:
        UserError: when manifest or clips have not been materialized.
    """
    allowed = workspace.settings.checks.leaked_share
    noted = (*noted_leaks(workspace), *near_pairs(workspace))
    leaks: list[Leak] = []
    shares: dict[str, float] = {}
    for pool in workspace.settings.pools:
        usable = set(pool_captions(workspace, pool)["pair_id"].to_pylist())
        own = [leak for leak in noted if leak.pool == pool and leak.pair_id in usable]
        shares[pool] = len({leak.pair_id for leak in own}) / max(len(usable), 1)
        leaks += own
    worst = max(shares, key=lambda pool: shares[pool], default="")
    many = [pool for pool, share in shares.items() if share > allowed]
    said = f"a benchmark has at most {percent(shares.get(worst, 0.0))} of any pool's pairs too"
    if many:
        said = (
            f"a benchmark has the caption or the video of {percent(shares[worst])} of the pairs of "
            f"pool {worst}, more than {percent(allowed)}, which flatters scores; "
            'set its benchmark_items = "refuse"'
        )
    rows = [(f"{leak.pool}/{leak.pair_id}", leak.kind, f"{leak.benchmark}/{leak.item}") for leak in leaks]
    facts = {
        "leaks_by_kind": dict(Counter(leak.kind for leak in leaks)),
        "leaked_share_by_pool": shares,
        "allowed_share": allowed,
    }
    return Finding(not many, said, facts, ("pair", "what is the same", "as that of"), rows)
