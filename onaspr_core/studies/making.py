"""Making what a study's rows lack, stage by stage, through the item store that everything else uses.

Rows whose neighbours are others than the experiment's have a name of their own in the catalog, such as
`miniature/references=10`; keys of items hold no experiment's name, so whatever exists is found again.
"""

from __future__ import annotations

from collections.abc import Sequence

from onaspr_core.compute import Outcome
from onaspr_core.diffusion.semantics import rewritten_step_count
from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.scores import Made
from onaspr_core.generation import generate_videos
from onaspr_core.inversion import invert_clips
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.settings import Experiment
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace


def prepare(workspace: Workspace, e: Experiment) -> list[Outcome]:
    """Bring an experiment's prompts, neighbours and real side into the catalog.

    Raises:
        UserError: when the pool has not been materialized, or a file cannot be read.
    """
    return [
        ingest_prompts(workspace, e),
        find_neighbours(workspace, e),
        ingest_benchmark(workspace, e),
    ]


def make_videos(workspace: Workspace, made: Made) -> list[Outcome]:
    """Make the videos of a row, and the inverted noise and rewrites that they take.

    Raises:
        UserError: as the stages that do it.
    """
    e, variant = made.experiment, VARIANTS[made.variant]
    outcomes = []
    if variant.inverted_noise and e.eta > 0:
        outcomes.append(invert_clips(workspace, e))
    if variant.rewritten_prompt and rewritten_step_count(e.sampling.steps, e.gamma) > 0:
        outcomes.append(rewrite_prompts(workspace, e))
    return [*outcomes, generate_videos(workspace, e, made.variant)]


def make_rows(workspace: Workspace, e: Experiment, rows: Sequence[Made]) -> list[Outcome]:
    """Make everything that the rows of a study of `e` lack, but scores."""
    outcomes = prepare(workspace, e)
    for made in rows:
        own = made.experiment
        if own.name != e.name:
            outcomes += [ingest_prompts(workspace, own), find_neighbours(workspace, own)]
        outcomes += make_videos(workspace, made)
    return outcomes
