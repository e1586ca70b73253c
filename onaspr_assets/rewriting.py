"""Rewritten prompts: what a language model makes of a prompt and its references."""

import dagster as dg

from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize_experiment
from onaspr_assets.params import param
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import neighbours
from onaspr_core import code_versions


@asset(
    group="rewriting",
    kinds={"openai"},
    deps=[neighbours, param("references"), param("rewriter")],
    by_experiment=True,
    code_version=code_versions.REWRITE,
)
def rewritten_prompts(
    context: dg.AssetExecutionContext, workspace: WorkspaceResource
) -> dg.MaterializeResult:
    """Each prompt enriched by a language model that sees similar captions (Eq 7), or the prompt itself.

    Changes when a prompt's references, their number, the language model or its guard change. A prompt whose
    answers break the guard's rules is asked for once more; then the original is used and the reason counted.
    """
    from onaspr_core.rewriting.stage import rewrite_prompts

    return materialize_experiment(context, workspace, rewrite_prompts)
