"""What is looked at after an asset was made: checks that stop what is downstream, and checks that warn.

A blocking check stands where going on would waste hours: its failure keeps the run, and the automation, from
everything downstream, for that experiment alone. A warning stands where a person should look. What each looks
at is `onaspr_core.checks`'; no check loads a model or waits for the GPU.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from onaspr_assets.evaluation import benchmark_videos, reference_features, scores
from onaspr_assets.generation import video_assets
from onaspr_assets.metadata import FAILURES_SHOWN
from onaspr_assets.noise import inverted_latents
from onaspr_assets.partitions import experiments
from onaspr_assets.pool import pool_clips
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import caption_embeddings, neighbours, prompts
from onaspr_assets.rewriting import rewritten_prompts
from onaspr_core.checks.finding import Finding
from onaspr_core.errors import PlainError
from onaspr_core.markdown import table
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

Condition = dg.AutomationCondition


def whenever_made(asset: dg.AssetKey) -> dg.AutomationCondition:
    """Return the condition of a check: it is asked for with its asset, and where it was never heard of.

    A run that ends between an asset and its check, or that leaves the check out, would otherwise keep all
    that is downstream of a blocking check waiting for ever. For one materialization it is asked for alone
    once: a check that breaks, or is ended again, waits for a person.
    """
    with_it = Condition.asset_matches(asset, Condition.will_be_requested())
    rests = Condition.asset_matches(
        asset, ~Condition.missing() & ~Condition.execution_failed() & ~Condition.in_progress()
    )
    unheard = Condition.missing() | Condition.execution_failed()
    made = Condition.asset_matches(asset, Condition.newly_updated())
    asked = Condition.newly_requested().since(made)
    return (with_it | (unheard & rests & ~asked & ~Condition.in_progress())).with_label("whenever made")


def _check(
    asset: dg.AssetsDefinition, *, blocking: bool
) -> Callable[[Callable[..., Finding]], dg.AssetChecksDefinition]:
    """Declare a check of an asset: its function is handed the workspace and, if any, the experiment."""
    by_experiment = asset.partitions_def is not None

    def declare(look: Callable[..., Finding]) -> dg.AssetChecksDefinition:
        def check(
            context: dg.AssetCheckExecutionContext, workspace: WorkspaceResource
        ) -> dg.AssetCheckResult:
            try:
                opened = workspace.open()
                given = [opened.settings.experiment(context.partition_key)] if by_experiment else []
                found = look(opened, *given)
            except PlainError as problem:
                found = Finding(passed=False, summary=str(problem))
            return result_of(found, blocking)

        with warnings.catch_warnings():
            # Dagster calls partitions of checks a preview; without them one experiment would block all.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            declared: dg.AssetChecksDefinition = dg.asset_check(
                asset=asset,
                name=look.__name__,
                description=look.__doc__,
                blocking=blocking,
                partitions_def=experiments if by_experiment else None,
                automation_condition=whenever_made(asset.key),
            )(check)
            return declared

    return declare


def result_of(finding: Finding, blocking: bool) -> dg.AssetCheckResult:
    """Return a finding as Dagster shows it: the sentence, the figures, and a table of the single cases."""
    metadata: dict[str, Any] = {
        name: dg.MetadataValue.json(dict(value)) if isinstance(value, Mapping) else value
        for name, value in finding.facts.items()
    }
    if finding.rows:
        metadata["cases"] = dg.MetadataValue.md(table(finding.header, finding.rows[:FAILURES_SHOWN]))
    return dg.AssetCheckResult(
        passed=finding.passed,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description=finding.summary,
        metadata=metadata,
    )


@_check(pool_clips, blocking=False)
def few_videos_are_unusable(workspace: Workspace) -> Finding:
    """Warns when the share of a pool's videos that became no clip is above `checks.unreadable_share`."""
    from onaspr_core.checks.pool import few_videos_are_unusable as look

    return look(workspace)


@_check(caption_embeddings, blocking=True)
def every_clip_has_one_row(workspace: Workspace) -> Finding:
    """The caption index holds each caption of a pool in one row, with all of its pairs that have a clip."""
    from onaspr_core.checks.pool import every_clip_has_one_row as look

    return look(workspace)


@_check(caption_embeddings, blocking=False)
def the_index_finds_the_nearest(workspace: Workspace) -> Finding:
    """Warns when an index finds fewer of the five nearest captions than `checks.index_recall` asks for."""
    from onaspr_core.checks.retrieval import the_index_finds_the_nearest as look

    return look(workspace)


@_check(caption_embeddings, blocking=False)
def no_benchmark_is_borrowed_from(workspace: Workspace) -> Finding:
    """Warns when a benchmark has more of a pool's captions and videos than `checks.leaked_share` allows."""
    from onaspr_core.checks.pool import no_benchmark_is_borrowed_from as look

    return look(workspace)


@_check(prompts, blocking=True)
def every_prompt_is_in_the_catalog(workspace: Workspace, e: Experiment) -> Finding:
    """The catalog holds the prompts of the prompt file or benchmark, up to the limit, and at least one."""
    from onaspr_core.checks.retrieval import every_prompt_is_in_the_catalog as look

    return look(workspace, e)


@_check(neighbours, blocking=True)
def every_prompt_has_neighbours(workspace: Workspace, e: Experiment) -> Finding:
    """Every prompt has a neighbour whose clip can be read, and as many references as k asks for."""
    from onaspr_core.checks.retrieval import every_prompt_has_neighbours as look

    return look(workspace, e)


@_check(inverted_latents, blocking=True)
def every_clip_is_inverted(workspace: Workspace, e: Experiment) -> Finding:
    """Every clip that is needed has its inverted noise, undamaged, and all of its values are finite."""
    from onaspr_core.checks.noise import every_clip_is_inverted as look

    return look(workspace, e)


@_check(inverted_latents, blocking=False)
def noise_is_nearly_gaussian(workspace: Workspace, e: Experiment) -> Finding:
    """Warns when too many inverted latents are far from Gaussian noise, by the limits of `checks`."""
    from onaspr_core.checks.noise import noise_is_nearly_gaussian as look

    return look(workspace, e)


@_check(rewritten_prompts, blocking=True)
def every_prompt_has_a_rewrite(workspace: Workspace, e: Experiment) -> Finding:
    """Every prompt has a rewrite for its present references and settings."""
    from onaspr_core.checks.rewriting import every_prompt_has_a_rewrite as look

    return look(workspace, e)


@_check(rewritten_prompts, blocking=False)
def few_originals_were_kept(workspace: Workspace, e: Experiment) -> Finding:
    """Warns when the share of prompts that kept their original text is above `checks.fallback_share`."""
    from onaspr_core.checks.rewriting import few_originals_were_kept as look

    return look(workspace, e)


def video_check(variant: str) -> dg.AssetChecksDefinition:
    """Return the check of one variant's videos."""

    @_check(video_assets[variant], blocking=True)
    def every_prompt_has_a_video(workspace: Workspace, e: Experiment) -> Finding:
        """Every prompt has a video, or an image, with undamaged bytes and frames of the backbone's shape."""
        from onaspr_core.checks.videos import every_prompt_has_a_video as look

        return look(workspace, e, variant)

    return every_prompt_has_a_video


@_check(benchmark_videos, blocking=False)
def the_real_side_is_complete(workspace: Workspace, e: Experiment) -> Finding:
    """Warns when fewer real videos are usable than the benchmark's list, or its publication, has."""
    from onaspr_core.checks.features import the_real_side_is_complete as look

    return look(workspace, e)


@_check(reference_features, blocking=True)
def every_real_video_has_features(workspace: Workspace, e: Experiment) -> Finding:
    """Every usable real video has its features under each network, and all are finite."""
    from onaspr_core.checks.features import every_real_video_has_features as look

    return look(workspace, e)


@_check(scores, blocking=False)
def no_score_moved_far(workspace: Workspace, e: Experiment) -> Finding:
    """Warns when a score moved by more than its interval since the scores that it replaced."""
    from onaspr_core.checks.scores import no_score_moved_far as look

    return look(workspace, e)


CHECKS = (
    few_videos_are_unusable,
    every_clip_has_one_row,
    the_index_finds_the_nearest,
    no_benchmark_is_borrowed_from,
    every_prompt_is_in_the_catalog,
    every_prompt_has_neighbours,
    every_clip_is_inverted,
    noise_is_nearly_gaussian,
    every_prompt_has_a_rewrite,
    few_originals_were_kept,
    *(video_check(variant) for variant in video_assets),
    the_real_side_is_complete,
    every_real_video_has_features,
    no_score_moved_far,
)
