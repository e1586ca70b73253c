"""Checks of the pools: a row for every clip, and how many videos could not be used."""

from collections import Counter

from onaspr_core.checks.finding import Finding, every, percent
from onaspr_core.pool.manifest import listed_pairs, unusable_pairs
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.index import wanted_rows
from onaspr_core.retrieval.table import CaptionIndex
from onaspr_core.workspace import Workspace


def every_clip_has_one_row(workspace: Workspace) -> Finding:
    """Compare the caption index, row by row, with the pairs of all pools whose clips are ready.

    Raises:
        UserError: when manifest or clips have not been materialized.
    """
    fingerprint = embedder(workspace).fingerprint
    wanted = {row.row: row for row in wanted_rows(workspace, fingerprint)}
    held = CaptionIndex(workspace.lance_path, fingerprint).rows()
    counts = Counter(row.row for row in held)
    present = {row.row: row for row in held}
    problems: list[tuple[str, str]] = []
    for key, row in wanted.items():
        if counts[key] != 1:
            problems.append((f"{row.pool}/{row.pair_id}", f"{counts[key]} rows"))
        elif present[key] != row:
            problems.append((f"{row.pool}/{row.pair_id}", "its row has another caption, clip or rank"))
    extra = [row for key, row in present.items() if key not in wanted]
    problems += [(f"{row.pool}/{row.pair_id}", "a row without a clip") for row in extra]
    return every(
        "rows of captions are those of the pairs with a clip",
        len(wanted) + len(extra),
        problems,
        "materialize caption_embeddings",
        clips=len(wanted),
        rows=len(held),
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
        shares[pool] = len(lost) / max(len(listed_pairs(workspace, pool)), 1)
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
