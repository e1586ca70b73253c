"""The paper's tables and figures as assets. People alone ask for them: a sweep costs many experiments."""

from functools import partial

import dagster as dg

from onaspr_assets.evaluation import benchmark_videos, scores
from onaspr_assets.house import STUDIES, asset
from onaspr_assets.metadata import materialize, materialize_experiment
from onaspr_assets.noise import inverted_latents
from onaspr_assets.params import param
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import caption_embeddings, neighbours, prompts
from onaspr_assets.rewriting import rewritten_prompts
from onaspr_core import code_versions

FILES = {"csv", "latex", "matplotlib"}
VIDEOS = (prompts, neighbours, param("sampling"), param("backbone"), param("studies"))
SCORED = (*VIDEOS, benchmark_videos, param("evaluation"))
NOISE = (param("eta"), param("inversion"))
REWRITING = (param("gamma"), param("references"), param("rewriter"))

SWEEPS = {
    "table_2a": (
        (*SCORED, *NOISE, *REWRITING, caption_embeddings),
        "Table 2a: both methods with smaller and larger pools (N).",
    ),
    "table_2b": (
        (*SCORED, *REWRITING),
        "Table 2b: SPR with more and fewer steps that see the rewritten prompt (gamma).",
    ),
    "table_2c": (
        (*SCORED, *REWRITING, caption_embeddings),
        "Table 2c: rewriting alone, from more and fewer references (k).",
    ),
    "table_2d": (
        (*SCORED, *NOISE, *REWRITING),
        "Table 2d: both methods with the rewriting engines that `studies.rewriters` names.",
    ),
    "figure_4": (
        (*SCORED, *NOISE),
        "Figure 4: ONA from pure random to pure inverted noise (eta).",
    ),
}
"""Sweeps: what each depends on, and what it shows."""


def sweep_asset(name: str) -> dg.AssetsDefinition:
    """Return the asset of one sweep."""
    deps, shown = SWEEPS[name]

    @asset(
        name=name,
        description=f"{shown} Changes with what its videos and scores are made of; people ask for it.",
        group=STUDIES,
        kinds=FILES,
        deps=deps,
        by_experiment=True,
        gpu=True,
        code_version=code_versions.STUDIES,
    )
    def study(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
        from onaspr_core.studies.stages import sweep

        return materialize_experiment(context, workspace, partial(sweep, name=name))

    return study


def variant_table_asset(name: str, shown: str) -> dg.AssetsDefinition:
    """Return the asset of a table of several experiments' variants."""

    @asset(
        name=name,
        description=f"{shown} Changes with the scores of these experiments; people ask for it.",
        group=STUDIES,
        kinds=FILES,
        deps=[scores, param("studies")],
        gpu=True,
        code_version=code_versions.STUDIES,
    )
    def study(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
        from onaspr_core.studies.stages import variant_table

        return materialize(context, workspace, partial(variant_table, name=name))

    return study


@asset(
    group=STUDIES,
    kinds={"matplotlib"},
    deps=[scores, param("studies")],
    gpu=True,
    code_version=code_versions.STUDIES,
)
def figure_3(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """Figure 3: frames of the same prompt and noise, without the method and with it.

    Changes with the videos of the experiments in `studies.experiments`; people ask for it.
    """
    from onaspr_core.studies.stages import frames_side_by_side

    return materialize(context, workspace, frames_side_by_side)


@asset(
    group=STUDIES,
    kinds=FILES,
    deps=[*VIDEOS, *NOISE, *REWRITING, inverted_latents, rewritten_prompts],
    by_experiment=True,
    gpu=True,
    code_version=f"{code_versions.STUDIES}.{code_versions.STAGE_TIMES}",
)
def table_4(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """Table 4: how long each stage takes for one prompt on this machine, cold and warm.

    Changes with the machine, the models and the settings; people ask for it.
    """
    from onaspr_core.studies.stages import stage_times

    return materialize_experiment(context, workspace, stage_times)


ASSETS = (
    variant_table_asset("table_1", "Table 1: the four variants of the experiments that make videos."),
    *(sweep_asset(name) for name in SWEEPS if name != "figure_4"),
    variant_table_asset("table_3", "Table 3: the four variants of the experiments that make images."),
    table_4,
    figure_3,
    sweep_asset("figure_4"),
)
"""In the paper's order."""
