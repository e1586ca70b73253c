"""Neighbours: for every prompt of an experiment the captioned clips nearest to it (Eq 3 and Eq 6).

One search serves both: the noise of the first neighbour is taken, and the captions of the first k are the
references that a rewrite is built on. What does not belong here: how they are found (`lookup`), the
captions' embeddings (`index`, `versions`), and any use of what was found.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial

import duckdb
import numpy as np
import pyarrow as pa

from onaspr_core import code_versions
from onaspr_core.artifacts import content_key
from onaspr_core.compute import Failure, Outcome, Preview, run_items, version_of
from onaspr_core.errors import UserError
from onaspr_core.markdown import table
from onaspr_core.progress import track
from onaspr_core.prompts import Prompt, load_prompts
from onaspr_core.retrieval.embedder import TextEmbedder, Vectors, embedder, unusable
from onaspr_core.retrieval.nearest import Neighbour as Neighbour
from onaspr_core.retrieval.nearest import nearest_clips, searched
from onaspr_core.retrieval.versions import CaptionState, caption_state
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import PROMPT_EMBEDDING
from onaspr_core.workspace import Workspace

PROMPTS_PER_WRITE = 4096
PROMPTS_SHOWN = 20

_NEIGHBOURS = """create table if not exists neighbours (
    experiment text, prompt_id text, position integer, pair_id text, clip_key text, caption text,
    similarity double, rank_in_pool bigint)"""
_SEARCHES = "create table if not exists neighbour_searches (experiment text, prompt_id text, key text)"


def find_neighbours(workspace: Workspace, experiment: Experiment) -> Outcome:
    """Find the captions of the pool nearest to each prompt; one search serves noise and every k up to 5.

    Items are prompts. The version is that of all that was found: a change of the pool that leaves it alone,
    or of k within what is searched, moves nothing downstream.

    Raises:
        UserError: when the prompts or captions have not been materialized, or the pool is empty.
    """
    prompts = load_prompts(workspace, experiment)
    encoder = embedder(workspace)
    state = caption_state(workspace, experiment.pool, encoder.fingerprint)
    keys = _search_keys(experiment, prompts, state)
    loaded = len(workspace.models.loaded)
    outcome = run_items(
        "neighbours",
        prompts,
        key=lambda prompt: keys[prompt.id],
        name=lambda prompt: prompt.id,
        exists=lambda wanted: _finished(workspace, experiment).intersection(wanted),
        open_maker=_maker(workspace, experiment, encoder, state, keys),
        batch_size=PROMPTS_PER_WRITE,
    )
    _forget(workspace, experiment, set(keys))
    found = _found(workspace, experiment, keys)
    similarities = [own[0].similarity for own in found.values()]
    pairs = min(experiment.pool_size or state.pairs, state.pairs)
    return replace(
        outcome,
        version=version_of(_described(prompt, found[prompt.id]) for prompt in prompts),
        models=workspace.models.loaded[loaded:],
        facts={
            "references_per_prompt": min(max(experiment.references.k, 1), pairs),
            "pool_pairs": pairs,
            "neighbour_similarity_mean": float(np.mean(similarities)),
            "neighbour_similarity_least": min(similarities),
        },
        preview=Preview(markdown=_listing(prompts, found)),
    )


def neighbours_of(workspace: Workspace, experiment: Experiment) -> dict[str, tuple[Neighbour, ...]]:
    """Return the neighbours of each prompt by prompt id: best first, ties to the smaller rank in the pool.

    There are max(k, 1) of them, fewer only where the whole pool is smaller: the captions of the first k are
    the references of the prompt's rewrite. No model is loaded and the caption index is not opened.

    Raises:
        UserError: when neighbours have not been materialized for a prompt's present text, the pool's present
            captions and clips, the embedding model, and k.
    """
    used = max(experiment.references.k, 1)
    found = _present(workspace, experiment)
    return {prompt_id: own[:used] for prompt_id, own in found.items()}


def noise_neighbours_of(workspace: Workspace, experiment: Experiment) -> dict[str, tuple[Neighbour, ...]]:
    """Return by prompt id the neighbours whose clips' noise a prompt borrows, best first.

    Their clips are distinct, and as many as `inversion.neighbours` says, fewer only where no more were found.

    Raises:
        UserError: as `neighbours_of`.
    """
    count = experiment.inversion.neighbours
    found = _present(workspace, experiment)
    return {prompt_id: nearest_clips(own, count) for prompt_id, own in found.items()}


def _present(workspace: Workspace, experiment: Experiment) -> dict[str, tuple[Neighbour, ...]]:
    """All that was found for the prompts, captions and settings of now."""
    prompts = load_prompts(workspace, experiment)
    state = caption_state(workspace, experiment.pool, embedder(workspace).fingerprint)
    return _found(workspace, experiment, _search_keys(experiment, prompts, state))


def _search_keys(experiment: Experiment, prompts: Sequence[Prompt], state: CaptionState) -> dict[str, str]:
    """The content key of each prompt's search, by prompt id."""
    # A whole pool is left out, so that no key moved when a part of it could first be asked for.
    part = {"size": experiment.pool_size} if experiment.pool_size else {}
    same = {
        **part,
        "k": searched(experiment),
        "pool": state.version,
        "embedder": state.fingerprint,
        "version": code_versions.NEIGHBOURS,
    }
    return {
        prompt.id: content_key(
            "neighbours", experiment=experiment.name, id=prompt.id, text=prompt.text, **same
        )
        for prompt in prompts
    }


def _found(
    workspace: Workspace, experiment: Experiment, keys: Mapping[str, str]
) -> dict[str, tuple[Neighbour, ...]]:
    """All that the searches with these keys found, by prompt id in the order of `keys`."""
    rows = workspace.catalog.rows(
        "select prompt_id, key, pair_id, clip_key, caption, similarity, rank_in_pool "
        "from neighbours join neighbour_searches using (experiment, prompt_id) "
        "where experiment = ? order by prompt_id, position",
        [experiment.name],
    )
    found: dict[str, list[Neighbour]] = {}
    for prompt_id, key, *neighbour in rows or ():
        if keys.get(prompt_id) == key:
            found.setdefault(prompt_id, []).append(Neighbour(*neighbour))
    lacking = [prompt_id for prompt_id in keys if prompt_id not in found]
    if lacking:
        raise UserError(
            f"experiment {experiment.name}: {len(lacking)} prompt(s), {lacking[0]} among them, have no "
            "neighbours for their present text, the pool as it is, and k; materialize neighbours"
        )
    return {prompt_id: tuple(found[prompt_id]) for prompt_id in keys}


def prompt_vectors(workspace: Workspace, encoder: TextEmbedder, texts: Sequence[str]) -> Vectors:
    """Return the embeddings of texts, float32 (texts, d), kept in the store so that each is made once.

    Raises:
        UserError: when the model gives values that are not finite; the embeddings of other texts are kept.
    """
    keys = [content_key(PROMPT_EMBEDDING, text=text, embedder=encoder.fingerprint) for text in texts]
    missing = dict(zip(keys, texts, strict=True))
    for key in workspace.store.existing(PROMPT_EMBEDDING, keys):
        del missing[key]
    lacking = list(missing.items())
    refused: list[str] = []
    for first in range(0, len(lacking), PROMPTS_PER_WRITE):
        part = lacking[first : first + PROMPTS_PER_WRITE]
        said = [text for _, text in part]
        vectors = encoder.encode(said)
        refused += unusable(said, vectors)
        for (key, text), row in zip(part, vectors, strict=True):
            if text not in refused:
                record = {"text": text, "embedder": encoder.fingerprint}
                workspace.store.write_tensors(PROMPT_EMBEDDING, key, {"vector": row}, record)
    if refused:
        raise UserError(
            f"embedding.model gives values that are not finite for {len(refused)} prompt(s), {refused[0]!r} "
            "among them; reword or remove them, or choose another embedding.model"
        )
    read = partial(workspace.store.read_tensors, PROMPT_EMBEDDING)
    return np.stack([tensors["vector"] for tensors in workspace.store.map(read, keys)])


def _maker(
    workspace: Workspace,
    experiment: Experiment,
    encoder: TextEmbedder,
    state: CaptionState,
    keys: Mapping[str, str],
) -> Callable[[], AbstractContextManager[Callable[[Sequence[Prompt]], Iterable[Failure]]]]:
    def make(batch: Sequence[Prompt]) -> Iterable[Failure]:
        from onaspr_core.retrieval.lookup import nearest_pairs
        from onaspr_core.retrieval.table import CaptionTable

        table = CaptionTable(workspace.lance_path, encoder.fingerprint, experiment.pool, state.table_version)
        vectors = prompt_vectors(workspace, encoder, [prompt.text for prompt in batch])
        label = f"captions of {experiment.pool} searched for {len(batch)} prompts"
        with track(label, table.lance.count_rows()) as advance:
            found = nearest_pairs(table, vectors, searched(experiment), experiment.pool_size, advance=advance)
        _store(workspace, experiment, [(prompt.id, keys[prompt.id]) for prompt in batch], found)
        return ()

    return lambda: nullcontext(make)


def _store(
    workspace: Workspace,
    experiment: Experiment,
    searches: Sequence[tuple[str, str]],
    found: Sequence[Sequence[Neighbour]],
) -> None:
    neighbours = [
        {"experiment": experiment.name, "prompt_id": prompt_id, "position": position, **asdict(one)}
        for (prompt_id, _), own in zip(searches, found, strict=True)
        for position, one in enumerate(own)
    ]
    finished = [{"experiment": experiment.name, "prompt_id": id_, "key": key} for id_, key in searches]
    with workspace.catalog.write() as connection:
        connection.execute(_NEIGHBOURS)
        connection.execute(_SEARCHES)
        _delete(connection, experiment, [prompt_id for prompt_id, _ in searches])
        for name, rows in (("neighbours", neighbours), ("neighbour_searches", finished)):
            connection.register("fresh", pa.Table.from_pylist(rows))
            connection.execute(f"insert into {name} by name select * from fresh")
            connection.unregister("fresh")


def _delete(connection: duckdb.DuckDBPyConnection, experiment: Experiment, prompt_ids: list[str]) -> None:
    for name in ("neighbours", "neighbour_searches"):
        connection.execute(
            f"delete from {name} where experiment = ? and list_contains(?, prompt_id)",
            [experiment.name, prompt_ids],
        )


def _finished(workspace: Workspace, experiment: Experiment) -> set[str]:
    rows = workspace.catalog.rows(
        "select key from neighbour_searches where experiment = ?", [experiment.name]
    )
    return {key for (key,) in rows or ()}


def _forget(workspace: Workspace, experiment: Experiment, kept: set[str]) -> None:
    """Delete the rows of prompts that are gone; opens the catalog for writing only where there are some."""
    rows = workspace.catalog.rows(
        "select prompt_id from neighbour_searches where experiment = ?", [experiment.name]
    )
    gone = sorted({prompt_id for (prompt_id,) in rows or ()} - kept)
    if gone:
        with workspace.catalog.write() as connection:
            _delete(connection, experiment, gone)


def _described(prompt: Prompt, neighbours: Sequence[Neighbour]) -> str:
    """What a prompt found, as content: similarities to six digits, as they are shown."""
    listed = [(one.pair_id, one.clip_key, one.caption, f"{one.similarity:.6f}") for one in neighbours]
    return content_key("references", prompt=prompt.id, text=prompt.text, references=listed)


def _listing(prompts: Sequence[Prompt], found: Mapping[str, Sequence[Neighbour]]) -> str:
    best = [(prompt.text, found[prompt.id][0]) for prompt in prompts[:PROMPTS_SHOWN]]
    rows = [(text, one.caption, f"{one.similarity:.3f}") for text, one in best]
    return table(("prompt", "neighbour", "cosine"), rows)
