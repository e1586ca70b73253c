"""Checks of the real side: whether it is whole, and whether it has features."""

from onaspr_core.checks.finding import Finding, every
from onaspr_core.checks.stored import troubles
from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmarks import NO_BENCHMARK, real_videos, shortage
from onaspr_core.evaluation.features import feature_sets, real_features
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import FEATURES
from onaspr_core.workspace import Workspace


def the_real_side_is_complete(workspace: Workspace, e: Experiment) -> Finding:
    """Compare the usable real videos with those that the list has, and that were published.

    Raises:
        UserError: when the list cannot be read.
    """
    if e.evaluation.benchmark is None:
        return Finding(True, f"benchmark {NO_BENCHMARK}")
    facts = {"real_videos": len(real_videos(workspace, e))}
    if short := shortage(workspace, e):
        remedy = (
            "look at what benchmark_videos reports as failed and put it there, or say n beside each score"
        )
        return Finding(False, f"{short}; {remedy}", facts)
    return Finding(True, f"all {facts['real_videos']} real videos are usable", facts)


def every_real_video_has_features(workspace: Workspace, e: Experiment) -> Finding:
    """Read the features of every usable real video under each network: checksums and values.

    Raises:
        UserError: when a network is not there, or a benchmark is set and none of its videos is usable.
    """
    if e.evaluation.benchmark is None:
        return Finding(True, f"benchmark {NO_BENCHMARK}")
    videos = real_features(workspace, e, feature_sets(workspace, e))
    if not videos:
        raise UserError(
            f"none of the videos of benchmark {e.evaluation.benchmark.path} is usable; materialize "
            "benchmark_videos and look at its failures"
        )
    items = [
        (f"{item.name}, {item.feature_set.role}", item.key) for video in videos for item in video.values()
    ]
    return every(
        "features of real videos are there, undamaged and finite",
        len(items),
        troubles(workspace, FEATURES, items, "reference_features"),
        "materialize reference_features",
        real_videos=len(videos),
    )
