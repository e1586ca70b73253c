"""What a reader must know beside a table of scores: what was left out, is missing, or does not compare.

Sentences only. Which metrics there are is `metrics`; what a table's numbers mean is told by `score_layout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from onaspr_core.errors import UserError
from onaspr_core.evaluation.benchmarks import NO_BENCHMARK, shortage
from onaspr_core.evaluation.extractors import LabelGroup, is_shipped
from onaspr_core.evaluation.features import FeatureSets
from onaspr_core.evaluation.metrics import METRICS, Metric
from onaspr_core.evaluation.settings import PAPER
from onaspr_core.evaluation.vbench import VBenchResults
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace


@dataclass(frozen=True)
class Told:
    """What the notes are told from: counts, what is short, the metrics with a score, and the lost items.

    `missing` is of all the sets of videos together, one of each prompt, that are `compared`. `videos` are
    the keys of those that are there.
    """

    experiment: Experiment
    sets: FeatureSets
    prompts: int
    real: int
    missing: int
    compared: int
    shortage: str
    computed: tuple[Metric, ...]
    lost: tuple[str, ...]
    videos: frozenset[str]
    vbench: VBenchResults

    @property
    def images(self) -> bool:
        """Whether the experiment makes images."""
        return self.sets.video is None

    @property
    def chosen(self) -> tuple[Metric, ...]:
        """The metrics of the settings, whether the experiment can have them or not."""
        return tuple(one for one in METRICS if one.key in self.experiment.evaluation.metrics)


def shortage_of(workspace: Workspace, e: Experiment) -> str:
    """How much of the real side is usable where it is not all of it, as a sentence; else empty."""
    try:
        short = shortage(workspace, e)
    except UserError as problem:
        return f"How much of the benchmark is usable is not known: {problem}"
    return f"{short}." if short else ""


def notes(told: Told) -> Iterator[str]:
    """Every sentence that a table needs, in order."""
    yield from _shipped_note(told.sets)
    if any("splits" in metric.reads for metric in told.computed):
        yield _inception_note(told.sets.classifier.groups, told.experiment.evaluation.inception_splits)
    if told.images:
        yield _images_note(told.chosen)
    yield from _real_side(told)
    yield from _vbench_notes(told)
    if told.missing:
        things = "images" if told.images else "videos"
        yield f"{told.missing} of {told.prompts * told.compared} {things} are missing."
    if told.lost:
        yield f"Not computed: {', '.join(told.lost)}."


def _real_side(told: Told) -> Iterator[str]:
    """What lacks of the real side, and which metrics are left out for it."""
    needing = [one for one in told.chosen if one.needs_real]
    if told.experiment.evaluation.benchmark is None:
        yield f"Benchmark {NO_BENCHMARK}."
        if beyond := [one.title for one in needing if one.key not in PAPER]:
            yield f"Without a benchmark {_left_out(beyond)} as well."
        return
    if not told.real and needing:
        titles = [one.title for one in needing]
        yield f"The benchmark has nothing that could be used; {_left_out(titles)}."
    if told.shortage:
        yield told.shortage


def _vbench_notes(told: Told) -> Iterator[str]:
    """What VBench's values are, how many videos it has no result of, and how many results fit no video."""
    found = told.vbench
    if not found.dimensions:
        return
    if not found.videos & told.videos:
        yield "VBench: its results are of none of the videos compared here."
        return
    yield (
        "VBench: each video's result is VBench's own. A value here is their mean over the videos that have "
        "one; VBench's own score, which sums some dimensions up in another way, is not computed again."
    )
    for name, results in found.dimensions.items():
        if without := len(told.videos - results.keys()):
            title = name.replace("_", " ")
            yield f"VBench {title}: {without} of {len(told.videos)} different videos have no result."
    if others := len(found.videos - told.videos) + len(found.unknown):
        yield f"VBench: files of its results that are none of the videos compared here: {others}."


def _images_note(chosen: Sequence[Metric]) -> str:
    """How images are scored, and which of the chosen metrics they do not have."""
    keys = {one.key for one in chosen}
    parts = []
    if framed := [one.title for one in chosen if one.needs_real and one.of_images]:
        see = "see" if len(framed) > 1 else "sees"
        parts.append(
            f"{_and(framed)} {see} one row of each, and of a real video every 12th frame, five at most"
        )
    if "is" in keys:
        parts.append("IS is read from the image classifier, as it was first defined")
    if without := [one.title for one in chosen if not one.of_images]:
        need = "need" if len(without) > 1 else "needs"
        parts.append(f"{_and(without)} {need} videos and {_is(without)} left out")
    return f"Images: {'; '.join(parts or ['one frame each'])}."


def _left_out(titles: Sequence[str]) -> str:
    return f"{_and(titles)} {_is(titles)} left out"


def _is(titles: Sequence[str]) -> str:
    return "are" if len(titles) > 1 else "is"


def _and(titles: Iterable[str]) -> str:
    """Names in a row, such as "FID, CLIP-FID and FVD"."""
    *first, last = titles
    return f"{', '.join(first)} and {last}" if first else last


def _shipped_note(sets: FeatureSets) -> Iterator[str]:
    """That scores on the miniature's networks stand alone, whatever the user calls these networks."""
    shipped = list(dict.fromkeys(one.role for one in sets if is_shipped(one)))
    if shipped:
        yield (
            f"The miniature's own small networks serve as {', '.join(shipped)}: scores on them compare "
            "variants with one another and are not comparable with the paper's or with any other features."
        )


def _inception_note(groups: Sequence[LabelGroup], splits: int) -> str:
    classes = prod(len(group.values) for group in groups)
    over = f"the {classes} classes"
    if len(groups) > 1:
        over = f"the joint distribution of {' × '.join(group.name for group in groups)} ({classes} classes)"
    parts = "1 split, so without a deviation" if splits == 1 else f"{splits} splits, mean ± deviation"
    return f"IS: over {over}; {parts}."
