"""Table 4 as a view, as CSV and as what a reader must know: our times beside those of the paper's A100."""

from __future__ import annotations

from collections.abc import Sequence

from onaspr_core.csv_text import csv_text
from onaspr_core.reports.study_view import StudyCell, StudyRow, StudyView
from onaspr_core.settings import Experiment
from onaspr_core.studies.paper import CONTRADICTIONS, paper_numbers
from onaspr_core.studies.plans import TITLES
from onaspr_core.studies.timings import CALLS, STAGES, StageTime, machine

NAME = "table_4"
METRIC = "milliseconds"


def times_view(e: Experiment, times: Sequence[StageTime]) -> StudyView:
    """Stages down; cold, warm, and what one call does; the paper's milliseconds beside the warm ones."""
    rows = []
    for one in times:
        low, high = min(one.warm), max(one.warm)
        warm = StudyCell(
            milliseconds(one.median),
            f"{milliseconds(low)} … {milliseconds(high)}",
            paper=paper_time(one.stage),
        )
        rows.append(StudyRow(STAGES[one.stage], (StudyCell(milliseconds(one.cold)), warm, StudyCell(one.of))))
    lacking = [title for stage, title in STAGES.items() if stage not in {one.stage for one in times}]
    return StudyView(
        name=NAME,
        title=TITLES[NAME],
        experiment=e.name,
        columns=("cold, ms", "warm, ms", "one call"),
        rows=tuple(rows),
        notes=(
            f"Measured on {machine()}.",
            f"Cold: the first call, with loading its model but not Python's modules. Warm: the median of "
            f"{CALLS - 1} calls after it, with the least and the greatest below.",
            *([f"Not measured: {', '.join(lacking)}."] if lacking else []),
            *_extra(times),
            *CONTRADICTIONS[NAME],
        ),
    )


def times_csv(e: Experiment, times: Sequence[StageTime]) -> str:
    """One row a stage, every call's milliseconds unrounded, and the paper's."""
    return csv_text(
        {
            "experiment": e.name,
            "machine": machine(),
            "stage": one.stage,
            "one_call": one.of,
            "cold_ms": one.cold,
            "warm_ms": one.median,
            **{f"warm_ms_{number}": value for number, value in enumerate(one.warm, 1)},
            "paper_ms": paper_time(one.stage),
        }
        for one in times
    )


def milliseconds(value: float) -> str:
    """Milliseconds with three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def paper_time(stage: str) -> str:
    """The paper's milliseconds of a stage, as printed; empty where it has none."""
    number = paper_numbers(NAME).get(stage, {}).get(METRIC)
    return number.text if number else ""


def _extra(times: Sequence[StageTime]) -> list[str]:
    """What the method adds to a video that is generated, with all else precomputed."""
    found = {one.stage: one.median for one in times}
    if not {"denoising", "video_retrieval", "latent_read"} <= found.keys():
        return []
    extra = found["video_retrieval"] + found["latent_read"]
    share = 100 * extra / found["denoising"]
    return [
        "With clips inverted and prompts rewritten before, the method adds one retrieval and one latent read "
        f"to a generation: {milliseconds(extra)} ms, {share:.2g} % of denoising."
    ]
