"""Pool captions that say the same as a benchmark's, looked for wherever captions have just been embedded.

What does not belong here: what becomes of them (`onaspr_core.pool.leakage`), and the index (`index`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from onaspr_core.artifacts import content_key
from onaspr_core.pool.leakage import NEAR, benchmark_items, forget_vanished, note_near_captions
from onaspr_core.retrieval.embedder import TextEmbedder, Vectors
from onaspr_core.retrieval.neighbours import prompt_vectors
from onaspr_core.workspace import Workspace

_LOOKS = "create table if not exists near_caption_looks_by (pool text primary key, key text, judge text)"
"""`judge` is what told which captions say the same: the model, and the least cosine."""


def look_for_near_captions(
    workspace: Workspace,
    encoder: TextEmbedder,
    blocks: Callable[[str], Iterable[tuple[Sequence[str], Vectors]]],
    versions: Mapping[str, str],
) -> set[str]:
    """Compare pools with their benchmarks; return those of which captions are newly refused, or allowed.

    A pool is not looked at again while its captions, the benchmarks' and the model stay the same. Where the
    model or the least cosine is another, what was refused before counts no more.

    Args:
        workspace: Where.
        encoder: What the pools' captions were embedded with.
        blocks: Gives a pool's captions and their vectors, float32 (n, d), rows of length 1.
        versions: The version of each pool's captions.
    """
    rows = workspace.catalog.rows("select pool, key, judge from near_caption_looks_by") or ()
    looks = {pool: (key, judge) for pool, key, judge in rows}
    judge = content_key("judge of near captions", embedder=encoder.fingerprint, least=NEAR)
    forget_vanished(workspace)
    moved: set[str] = set()
    for pool, version in versions.items():
        items = benchmark_items(workspace, pool)
        told = sorted({(item.benchmark, item.id, item.caption) for item in items})
        key = content_key("near captions", pool=version, items=told)
        if looks.get(pool) == (key, judge) or not (items or pool in looks):
            continue
        vectors = prompt_vectors(workspace, encoder, [item.caption for item in items]) if items else None
        found = blocks(pool) if items else ()
        keep = pool in looks and looks[pool][1] == judge
        changed = note_near_captions(workspace, pool, found, items, vectors, keep)
        if changed and workspace.settings.pools[pool].benchmark_items == "refuse":
            moved.add(pool)
        with workspace.catalog.write() as connection:
            connection.execute(_LOOKS)
            connection.execute(
                "insert or replace into near_caption_looks_by values (?, ?, ?)", [pool, key, judge]
            )
    return moved
