"""The report: one page of all experiments and studies."""

import dagster as dg

from onaspr_assets import studies
from onaspr_assets.automation import show_what_there_is
from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize
from onaspr_assets.reports import gallery
from onaspr_assets.resources import WorkspaceResource
from onaspr_core import code_versions


@asset(
    group="reports",
    kinds={"html"},
    deps=[gallery, *studies.ASSETS],
    code_version=code_versions.REPORT,
    automation_condition=show_what_there_is(),
)
def report(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """One page with the galleries of all experiments and the studies, as far as they have been made.

    Changes with every gallery and every study.
    """
    from onaspr_core.reports.report import write_report
    from onaspr_core.studies.files import study_views

    return materialize(context, workspace, lambda opened: write_report(opened, study_views(opened)))
