"""The check of scores: which of them moved by more than their interval since the scores before them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onaspr_core.checks.finding import Finding, listed
from onaspr_core.evaluation.metrics import metric_named
from onaspr_core.evaluation.score_table import Score, ScoreTable, prompt_scores_of, scores_of
from onaspr_core.evaluation.statistics import paired_bootstrap
from onaspr_core.settings import Experiment
from onaspr_core.variants import BASELINE, title_of
from onaspr_core.workspace import Workspace

PerPrompt = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class _Move:
    """A number before and now; `low` and `high` bound the interval that it had before."""

    score: Score
    before: float
    now: float
    low: float
    high: float

    @property
    def name(self) -> str:
        return f"{metric_named(self.score.metric).title} of {title_of(self.score.variant)}"

    @property
    def far(self) -> bool:
        """Whether it moved by more than half the interval's width.

        Not whether it left the interval, which lies beside its own estimate where resamples are biased.
        """
        return abs(self.now - self.before) > (self.high - self.low) / 2


def no_score_moved_far(workspace: Workspace, e: Experiment) -> Finding:
    """Compare the scores with those that they replaced in the catalog.

    A variant's score moved far when its difference to the baseline changed by more than half the width of the
    95 % interval that the difference had before. The baseline has no difference: its mean over the prompts
    that were scored both times is compared, with the bootstrap interval of the earlier mean. Such an interval
    says how much other prompts would move the number, and these are mostly the same prompts, so a score that
    moved far has a cause in settings, models or pool; it is no test of significance.

    Not judged: set metrics of the baseline, what has no interval or was not scored both times, and what was
    scored on other feature networks.
    """
    before, now = scores_of(workspace, e, earlier=True), scores_of(workspace, e)
    if not before.scores or not now.scores:
        return Finding(True, "there are no earlier scores to compare with")
    moves: list[_Move] = []
    not_judged: list[str] = []
    values = prompt_scores_of(workspace, e, earlier=True), prompt_scores_of(workspace, e)
    for score in now.scores:
        move = _move(before, score, e, *values)
        if move is None:
            not_judged.append(f"{metric_named(score.metric).title} of {title_of(score.variant)}")
        else:
            moves.append(move)
    far = [move for move in moves if move.far]
    said = f"{len(far)} of {len(moves)} scores moved by more than their interval since the scores before"
    if far:
        said += f": {listed([move.name for move in far])}; look whether what was changed since should do that"
    facts = {
        "compared": len(moves),
        "moved": len(far),
        "prompts_before": before.prompts,
        "prompts_now": now.prompts,
        "not_judged": ", ".join(not_judged) or "none",
    }
    return Finding(not far, said, facts, _HEADER, [_row(move) for move in far])


_HEADER = ("metric", "variant", "compared", "before", "now", "95 % interval before")


def _row(move: _Move) -> tuple[str, ...]:
    return (
        metric_named(move.score.metric).title,
        title_of(move.score.variant),
        "mean" if move.score.variant == BASELINE else "difference to the baseline",
        f"{move.before:.4g}",
        f"{move.now:.4g}",
        f"{move.low:.4g} … {move.high:.4g}",
    )


def _move(
    table: ScoreTable, now: Score, e: Experiment, values_before: PerPrompt, values_now: PerPrompt
) -> _Move | None:
    """How a score moved, or None where that cannot be judged."""
    before = table.get(now.variant, now.metric)
    if before is None or (before.fingerprint, before.splits) != (now.fingerprint, now.splits):
        return None
    if now.variant != BASELINE:
        if before.difference is None or before.low is None or before.high is None or now.difference is None:
            return None
        return _Move(now, before.difference, now.difference, before.low, before.high)
    then = values_before.get(now.variant, {}).get(now.metric, {})
    since = values_now.get(now.variant, {}).get(now.metric, {})
    both = sorted(then.keys() & since.keys())
    if len(both) < 2:
        return None
    found = paired_bootstrap(
        [then[prompt] for prompt in both], samples=e.evaluation.bootstrap_samples, seed=e.evaluation.seed
    )
    mean = sum(since[prompt] for prompt in both) / len(both)
    return _Move(now, found.estimate, mean, found.low, found.high)
