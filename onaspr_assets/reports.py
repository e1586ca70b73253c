"""What a person looks at: tables, figures and the gallery."""

import dagster as dg

from onaspr_assets.evaluation import scores
from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize_experiment
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import neighbours
from onaspr_assets.rewriting import rewritten_prompts
from onaspr_core import code_versions


@asset(
    group="reports",
    kinds={"csv", "markdown"},
    deps=[scores],
    by_experiment=True,
    code_version=code_versions.TABLES,
)
def tables(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """The score table of the four variants as text, Markdown and CSV. Changes with the scores."""
    from onaspr_core.reports.tables import write_tables

    return materialize_experiment(context, workspace, write_tables)


@asset(
    group="reports",
    kinds={"matplotlib"},
    deps=[scores],
    by_experiment=True,
    code_version=code_versions.FIGURES,
)
def figures(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """Scores as a picture, and frames of the same prompt and noise side by side. Changes with the scores."""
    from onaspr_core.reports.figures import write_figures

    return materialize_experiment(context, workspace, write_figures)


@asset(
    group="reports",
    kinds={"html"},
    deps=[scores, neighbours, rewritten_prompts],
    by_experiment=True,
    code_version=code_versions.GALLERY,
)
def gallery(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """A page with the four videos or images of each prompt side by side, and what they were made from.

    Changes with the scores, and with the neighbours, references and rewrites that it shows.
    """
    from onaspr_core.reports.gallery import write_gallery

    return materialize_experiment(context, workspace, write_gallery)
