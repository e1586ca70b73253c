"""Captions to vectors, prompts, and the neighbours that both ONA and SPR draw from."""

import dagster as dg

from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize, materialize_experiment
from onaspr_assets.params import param
from onaspr_assets.pool import pool_clips, pool_manifest
from onaspr_assets.resources import WorkspaceResource
from onaspr_core import code_versions


@asset(
    group="retrieval",
    kinds={"sentencetransformers", "lancedb"},
    deps=[pool_manifest, pool_clips, param("embedding")],
    gpu=True,
    code_version=code_versions.EMBEDDING,
)
def caption_embeddings(
    context: dg.AssetExecutionContext, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """The captions of all pool clips and their sentence embeddings, in a LanceDB table of each pool.

    Changes when a caption comes, goes or is reworded, or when the embedding model changes.
    """
    from onaspr_core.retrieval.index import embed_captions

    return materialize(context, workspace, embed_captions)


@asset(group="retrieval", kinds={"duckdb"}, deps=[param("prompts")], by_experiment=True)
def prompts(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """The prompts that the experiment generates videos for.

    Changes when the prompt file, the benchmark in its place, or the number of prompts taken changes.
    """
    from onaspr_core.prompts import ingest_prompts

    return materialize_experiment(context, workspace, ingest_prompts)


@asset(
    group="retrieval",
    kinds={"sentencetransformers", "duckdb"},
    deps=[caption_embeddings, prompts, param("source"), param("references")],
    by_experiment=True,
    gpu=True,
    # Prompts are embedded here.
    code_version=f"{code_versions.NEIGHBOURS}.{code_versions.EMBEDDING}",
)
def neighbours(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """For each prompt the clips with the most similar captions: neighbour (Eq 3) and references (Eq 6).

    Changes when a prompt changes, or when the pool holds a caption that is nearer than those before.
    """
    from onaspr_core.retrieval.neighbours import find_neighbours

    return materialize_experiment(context, workspace, find_neighbours)
