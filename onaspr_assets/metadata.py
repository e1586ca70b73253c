"""From what a stage did to what Dagster shows, in one form for every asset."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from onaspr_assets.errors import told_to_people
from onaspr_assets.reasons import MADE_FROM, TO_RETRY, Versions, listing, recipe_of, sentence
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.turns import turn
from onaspr_core.compute import Outcome
from onaspr_core.markdown import table
from onaspr_core.parameters import contents
from onaspr_core.repairs import one_at_a_time, run_stage
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

FAILURES_SHOWN = 50


def materialize(
    context: dg.AssetExecutionContext,
    resource: WorkspaceResource,
    stage: Callable[[Workspace], Outcome],
) -> dg.MaterializeResult:
    """Run a stage that serves every experiment, such as the pool."""
    why = _why(context, resource)
    outcome = _run(context, resource, stage)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(outcome.version), metadata={**metadata_of(outcome), **why}
    )


def materialize_experiment(
    context: dg.AssetExecutionContext,
    resource: WorkspaceResource,
    stage: Callable[[Workspace, Experiment], Outcome],
) -> dg.MaterializeResult:
    """Run a stage for the experiment that is this run's partition."""
    return materialize(context, resource, _for_experiment(context, stage))


def observe_trial(
    context: dg.AssetExecutionContext,
    resource: WorkspaceResource,
    stage: Callable[[Workspace, Experiment], Outcome],
) -> dg.AssetObservation:
    """Run a stage of a trial: what it made is shown, and is not a materialization of the asset."""
    outcome = _run(context, resource, _for_experiment(context, stage))
    context.log.info(f"trial {outcome.facts['trial']}: {outcome.facts['videos_path']}")
    return dg.AssetObservation(
        context.asset_key, partition=context.partition_key, metadata=metadata_of(outcome)
    )


def _for_experiment(
    context: dg.AssetExecutionContext, stage: Callable[[Workspace, Experiment], Outcome]
) -> Callable[[Workspace], Outcome]:
    return lambda w: stage(w, w.settings.experiment(context.partition_key))


def _why(context: dg.AssetExecutionContext, resource: WorkspaceResource) -> dict[str, Any]:
    """Say what moved and what the asset is made from, before the stage runs: later it may be other things."""
    graph = context.job_def.asset_layer.asset_graph
    recipe = recipe_of(graph, context.asset_key)
    # What all experiments share has no partition, also in a run of one.
    partition = context.partition_key if graph.get(context.asset_key).is_partitioned else None
    with told_to_people():
        versions = Versions(context.instance, in_use=contents(resource.open().settings))
    moved = versions.moved(context.asset_key, recipe, partition)
    context.log.info(sentence(moved))
    return {
        "what_moved": dg.MetadataValue.md(listing(moved)),
        MADE_FROM: dg.MetadataValue.json(versions.now(recipe, partition)),
    }


def _run(
    context: dg.AssetExecutionContext,
    resource: WorkspaceResource,
    stage: Callable[[Workspace], Outcome],
) -> Outcome:
    name = context.asset_key.to_user_string()
    with told_to_people(), turn(context):
        workspace = resource.open()
        if context.has_partition_key:
            name = f"{name} {workspace.settings.experiment(context.partition_key).name}"
        with one_at_a_time(workspace, name):
            outcome = run_stage(workspace, stage)
    context.log.info(summary(outcome))
    return outcome


def summary(outcome: Outcome) -> str:
    """Say in one line what a stage did."""
    failed = f", {len(outcome.failures)} failed" if outcome.failures else ""
    repaired = f" ({outcome.repaired} had been damaged)" if outcome.repaired else ""
    models = f"loaded {', '.join(outcome.models)}" if outcome.models else "no model loaded"
    computed = f"{outcome.computed} computed{repaired}"
    return f"{outcome.total} items: {computed}, {outcome.reused} reused{failed}; {models}"


def metadata_of(outcome: Outcome) -> dict[str, Any]:
    """Return the metadata that every materialization carries, and what this stage adds.

    `seconds_per_item` is 0 when nothing was computed, and for stages whose items are rows.
    """
    seconds = outcome.seconds / outcome.computed if outcome.computed else 0.0
    metadata: dict[str, Any] = {
        "items_total": outcome.total,
        "items_computed": outcome.computed,
        "items_reused": outcome.reused,
        "items_failed": len(outcome.failures),
        "items_repaired": outcome.repaired,
        TO_RETRY: sum(failure.passing for failure in outcome.failures),
        "seconds_per_item": round(seconds, 4),
        "models_loaded": ", ".join(outcome.models) or "none",
    }
    for name, value in outcome.facts.items():
        metadata[name] = _value(name, value)
    if outcome.failures:
        shown = outcome.failures[:FAILURES_SHOWN]
        rows = [(failure.item, failure.reason) for failure in shown]
        metadata["failures"] = dg.MetadataValue.md(table(["item", "reason"], rows))
    if outcome.preview is not None:
        if outcome.preview.markdown:
            metadata["table"] = dg.MetadataValue.md(outcome.preview.markdown)
        if outcome.preview.png:
            picture = base64.b64encode(outcome.preview.png).decode()
            metadata["picture"] = dg.MetadataValue.md(f"![preview](data:image/png;base64,{picture})")
    return metadata


def _value(name: str, value: Any) -> Any:
    if name.endswith("_path"):
        return dg.MetadataValue.path(str(value))
    if isinstance(value, Mapping):
        return dg.MetadataValue.json(dict(value))
    if isinstance(value, tuple | list):
        return dg.MetadataValue.json(list(value))
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value
