"""Checks of prompts, the index and neighbours: that all is as in the files, is found, and can be used."""

from onaspr_core.checks.finding import Finding, every, listed, percent
from onaspr_core.pool.manifest import pool_pairs
from onaspr_core.prompts import experiment_prompts, load_prompts
from onaspr_core.retrieval.embedder import embedder
from onaspr_core.retrieval.neighbours import neighbours_of, noise_neighbours_of
from onaspr_core.retrieval.recall import index_recall
from onaspr_core.retrieval.versions import caption_state
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


def every_prompt_is_in_the_catalog(workspace: Workspace, e: Experiment) -> Finding:
    """Compare the prompts of the catalog with the prompt file or the benchmark, up to the limit.

    Raises:
        UserError: when the file cannot be read or holds no prompt, or the catalog holds none.
    """
    file, _ = experiment_prompts(workspace, e)
    wanted = {prompt.id: prompt for prompt in file}
    held = {prompt.id: prompt for prompt in load_prompts(workspace, e)}
    problems = [(id_, "not in the catalog") for id_ in wanted if id_ not in held]
    problems += [(id_, "not in the prompt file or benchmark") for id_ in held if id_ not in wanted]
    problems += [
        (id_, "another text or other attributes in the prompt file or benchmark")
        for id_ in held
        if id_ in wanted and held[id_] != wanted[id_]
    ]
    return every(
        "prompts stand in the catalog as in the prompt file or benchmark",
        len(wanted.keys() | held.keys()),
        problems,
        "materialize prompts",
        in_the_file=len(wanted),
        in_the_catalog=len(held),
    )


def the_index_finds_the_nearest(workspace: Workspace) -> Finding:
    """Compare each index's recall of the five nearest captions, on 200 prompts, with `checks.index_recall`.

    Raises:
        UserError: when the captions of a pool have not been embedded, or a pool is empty.
    """
    wanted = workspace.settings.checks.index_recall
    measured = {pool: index_recall(workspace, pool) for pool in workspace.settings.pools}
    recalls = {pool: recall for pool, recall in measured.items() if recall is not None}
    if not recalls:
        return Finding(True, "no pool is large enough for an index: every search scores all captions")
    least = min(recalls.values())
    low = [pool for pool, recall in recalls.items() if recall < wanted]
    said = f"the index of every pool finds at least {percent(least)} of the five nearest captions"
    if low:
        said = (
            f"the index of {listed(low)} finds as little as {percent(least)} of the five nearest captions, "
            f"less than {percent(wanted)}; neighbours are found without it all the same, so search single "
            f"prompts with --exact, or delete {workspace.lance_path} and materialize caption_embeddings"
        )
    rows = [(pool, f"{recall:.4f}") for pool, recall in sorted(recalls.items(), key=lambda own: own[1])]
    facts = {"recall_at_5": least, "recall_at_5_by_pool": recalls, "wanted_recall": wanted}
    return Finding(not low, said, facts, ("pool", "recall@5"), rows)


def every_prompt_has_neighbours(workspace: Workspace, e: Experiment) -> Finding:
    """Look at each prompt's neighbours: max(k, 1) or the whole pool, and the first one's clip is ready.

    Raises:
        UserError: when a prompt has no neighbours for its present text, pool and k.
    """
    state = caption_state(workspace, e.pool, embedder(workspace).fingerprint)
    wanted = min(max(e.references.k, 1), state.pairs)
    ready = {(pair.id, pair.clip_key) for pair in pool_pairs(workspace, e.pool)}
    found = neighbours_of(workspace, e)
    borrowed = noise_neighbours_of(workspace, e)
    problems = []
    for prompt_id, neighbours in found.items():
        if len(neighbours) != wanted:
            problems.append((prompt_id, f"{len(neighbours)} neighbours in place of {wanted}"))
        elif lacking := [
            one.pair_id for one in borrowed[prompt_id] if (one.pair_id, one.clip_key) not in ready
        ]:
            problems.append((prompt_id, f"its neighbour {lacking[0]} has no readable clip"))
    return every(
        f"prompts have {wanted} neighbours, the first with a readable clip",
        len(found),
        problems,
        "materialize pool_clips, caption_embeddings and neighbours",
        references_per_prompt=wanted,
    )
