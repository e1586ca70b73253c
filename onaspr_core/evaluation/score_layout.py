"""A score table in words and as Markdown: how numbers, counts and differences are written everywhere.

It lies here, and not in `onaspr_core.reports`, because the scores stage shows the same table in Dagster that
reports write to files. Other forms (CSV, plain text, figures, the gallery) are the business of reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onaspr_core.evaluation.arithmetic import Bootstrap, OfSet
from onaspr_core.evaluation.metrics import Metric, metric_named
from onaspr_core.evaluation.score_table import Score, ScoreTable
from onaspr_core.markdown import cell, table_of_numbers
from onaspr_core.variants import BASELINE

MARK = "*"


def markdown_table(table: ScoreTable) -> str:
    """Metrics down, variants across; each cell a value and its difference to the baseline; then the notes."""
    if not table.scores:
        return empty_table(table)
    head = ["metric", "n", *(f"`{variant}`" for variant in table.variants)]
    rows = []
    for metric in table.metrics:
        cells = [_markdown_cell(table, table.get(variant, metric.key)) for variant in table.variants]
        rows.append([cell(f"{metric.title} {metric.arrow}"), count_of(table, metric), *cells])
    notes = "\n".join(f"- {note}" for note in notes_of(table))
    return f"{table_of_numbers(head, rows)}\n\n{notes}\n"


def empty_table(table: ScoreTable) -> str:
    """What stands in a table's place before the first scoring, and where nothing could be scored."""
    if not table.notes:
        return "There are no scores yet; materialize the asset `scores`.\n"
    return f"No score could be computed. {' '.join(table.notes)}\n"


def format_value(score: Score) -> str:
    """A score as it is printed everywhere: percentages for accuracies, three or more digits otherwise."""
    if metric_named(score.metric).is_accuracy:
        return f"{100.0 * score.value:.1f} %"
    digits = _decimals(abs(score.value))
    text = f"{score.value:.{digits}f}"
    return text if score.spread is None else f"{text} ± {score.spread:.{digits}f}"


def format_difference(score: Score) -> str:
    """The difference to the baseline with its interval, such as "+0.012 [+0.004, +0.020]"; may be empty."""
    if score.difference is None:
        return ""
    scale, unit = (100.0, " pp") if metric_named(score.metric).is_accuracy else (1.0, "")
    bounds = [score.difference, *(b for b in (score.low, score.high) if b is not None)]
    digits = 1 if unit else _decimals(max(abs(score.value), max(abs(bound) for bound in bounds)))
    first, *rest = [f"{scale * bound + 0.0:+.{digits}f}" for bound in bounds]
    return f"{first}{unit} [{', '.join(rest)}]" if rest else f"{first}{unit}"


def format_marked(table: ScoreTable, score: Score) -> str:
    """The difference with `MARK` behind it where the table supports it."""
    text = format_difference(score)
    return f"{text}{MARK}" if table.supported(score) else text


def mark_rule(table: ScoreTable) -> str:
    """When a difference of the table is marked, in words that follow "where"."""
    words = {2: "two", 3: "three"}
    family = words.get(table.family, str(table.family))
    corrected = f", corrected for {family} comparisons by Holm" if table.family > 1 else ""
    return f"the 95 % interval leaves out zero and the sign-flip test finds a difference at 5 %{corrected}"


def count_of(table: ScoreTable, metric: Metric) -> str:
    """How many videos a row's scores are over: "200", "200, 120 real", or one number per variant."""
    scores = [table.get(variant, metric.key) for variant in table.variants]
    shown = _numbers(score.n if score else 0 for score in scores)
    real = next((score.n_real for score in scores if score and score.n_real), 0)
    return f"{shown}, {real} real" if real else shown


def compared_with(table: ScoreTable) -> str:
    """What the table's differences are to, for people: the baseline, or the first set of a study."""
    first = next(iter(table.variants), BASELINE)
    return "the baseline" if first == BASELINE else first


def footnotes(table: ScoreTable) -> list[str]:
    """What must be known beside the numbers: features, counts, intervals, what is missing."""
    by_extractor: dict[str, list[str]] = {}
    by_frames: dict[str, list[str]] = {}
    by_interval: dict[str, list[str]] = {}
    by_caution: dict[str, list[str]] = {}
    for metric in table.metrics:
        scores = [score for score in table.scores if score.metric == metric.key]
        first = scores[0]
        by_extractor.setdefault(f"{first.extractor} ({first.fingerprint[:8]})", []).append(metric.title)
        if (first.rows, first.rows_real) != (first.n, first.n_real):
            by_frames.setdefault(_frames(scores), []).append(metric.title)
        for kind in dict.fromkeys(score.interval for score in scores if score.interval):
            by_interval.setdefault(kind, []).append(metric.title)
        for caution in dict.fromkeys(score.caution for score in scores if score.caution):
            by_caution.setdefault(caution, []).append(metric.title)
    used = "; ".join(f"{name} for {', '.join(titles)}" for name, titles in by_extractor.items())
    notes = [f"Features: {used}."]
    notes += [f"Samples of {', '.join(titles)}: {frames}." for frames, titles in by_frames.items()]
    notes += [f"Intervals of {', '.join(titles)}: {kind}." for kind, titles in by_interval.items()]
    notes += [f"{', '.join(titles)}: {caution}." for caution, titles in by_caution.items()]
    return [*notes, *_unmarked(table), *_by_prompt(table), *table.notes]


def notes_of(table: ScoreTable) -> list[str]:
    """Footnotes, with what the mark means where it stands in the table."""
    marked = any(table.supported(score) for score in table.scores)
    meaning = f"Marked {MARK}: {mark_rule(table)}."
    return [*footnotes(table), *([meaning] if marked else [])]


def _unmarked(table: ScoreTable) -> list[str]:
    """Why differences of set metrics carry no mark, where any is compared at all."""
    compared = {score.metric for score in table.scores if score.difference is not None}
    of_sets = [
        (one.title, one.arithmetic.interval)
        for one in table.metrics
        if one.key in compared and isinstance(one.arithmetic, OfSet)
    ]
    resampled = [title for title, interval in of_sets if isinstance(interval, Bootstrap)]
    others = [title for title, interval in of_sets if not isinstance(interval, Bootstrap)]
    found = []
    if resampled:
        found.append(
            f"{', '.join(resampled)}: a difference is never marked. Its interval comes from resamples of a "
            "biased statistic and only shows how far the number spreads."
        )
    if others:
        found.append(f"{', '.join(others)}: a difference is never marked; only paired prompts are tested.")
    return found


def _by_prompt(table: ScoreTable) -> list[str]:
    """How often each variant is better, and how many prompts its difference takes; then what that means."""
    found = []
    for metric in table.metrics:
        compared = [s for s in table.scores if s.metric == metric.key and s.wins is not None]
        if compared:
            found.append(f"{metric.title} by prompt: {'; '.join(_wins(score) for score in compared)}.")
    meaning = (
        f"By prompt: the share of paired prompts where the variant is better than {compared_with(table)}, "
        "ties as half, with Wilson's 95 % interval, and how many prompts a paired test at 5 % needs to see a "
        "difference as large as the one observed with 80 % power."
    )
    return [*found, meaning] if found else []


def _wins(score: Score) -> str:
    rate, low, high = (100.0 * (one or 0.0) for one in (score.wins, score.wins_low, score.wins_high))
    needed = "no number of" if score.prompts_needed is None else f"{score.prompts_needed:,}"
    return f"{score.variant} {rate:.1f} % [{low:.1f}, {high:.1f}], {needed} prompts needed"


def _frames(scores: Sequence[Score]) -> str:
    """How videos become samples, such as "200 generated × 5 frames, 120 real × 5 frames"."""
    first = scores[0]
    own = _samples(f"{_numbers(score.n for score in scores)} generated", first.n, first.rows)
    if not first.n_real:
        return own
    return f"{own}, {_samples(f'{first.n_real} real', first.n_real, first.rows_real)}"


def _samples(named: str, count: int, rows: int) -> str:
    if rows % count:
        return f"{rows} frames of {named}"
    return named if rows == count else f"{named} × {rows // count} frames"


def _numbers(counts: Iterable[int]) -> str:
    """One number where all are equal, else each."""
    shown = [str(count) for count in counts]
    return shown[0] if len(set(shown)) == 1 else " / ".join(shown)


def _decimals(magnitude: float) -> int:
    """Decimals that show a value of this magnitude with about four digits."""
    for limit, digits in ((100.0, 1), (10.0, 2), (1.0, 3)):
        if magnitude >= limit:
            return digits
    return 4


def _markdown_cell(table: ScoreTable, score: Score | None) -> str:
    if score is None:
        return "none"
    difference = format_marked(table, score)
    return format_value(score) + (f"<br>{difference}" if difference else "")
