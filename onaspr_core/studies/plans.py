"""What each study compares: its rows, and how the videos of each are made. Nothing is made here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onaspr_core.errors import UserError
from onaspr_core.evaluation.scores import Made
from onaspr_core.settings import Experiment, Settings
from onaspr_core.variants import VARIANTS

WHOLE = 1.0
"""Gamma where every step sees the rewritten prompt: rewriting alone, without hybrid semantics."""


class NothingToCompareError(UserError):
    """The settings name nothing for a study, which is then left out."""


@dataclass(frozen=True)
class Row:
    """One row of a study: its name for people, the paper's name of it, and how its videos are made."""

    label: str
    paper: str
    made: Made


@dataclass(frozen=True)
class Sweep:
    """A study of one experiment that sets one thing after another; differences are to its first row.

    `axis` is the symbol of what is set, None where rows have no order. `rows` are given the settings, the
    experiment and how many captioned clips its pool has.
    """

    axis: str | None
    rows: Callable[[Settings, Experiment, int], Sequence[Row]]


def symbol(value: float) -> str:
    """A value as people read it: 0.5, 10, 100,000 or ∞."""
    return "∞" if math.isinf(value) else f"{int(value) if float(value).is_integer() else value:,}"


def _plain(value: float) -> str:
    """A value as the paper's numbers are filed under it: 0.5, 10, 100000 or inf."""
    return "inf" if math.isinf(value) else symbol(value).replace(",", "")


def _eta(settings: Settings, e: Experiment, pairs: int) -> list[Row]:
    values = settings.studies.eta
    return [Row(f"η = {symbol(eta)}", _plain(eta), Made(e.changed(eta=eta), "ona")) for eta in values]


def _gamma(settings: Settings, e: Experiment, pairs: int) -> list[Row]:
    values = settings.studies.gamma
    return [Row(f"γ = {symbol(one)}", _plain(one), Made(e.changed(gamma=one), "spr")) for one in values]


def _references(settings: Settings, e: Experiment, pairs: int) -> list[Row]:
    rows = []
    for k in settings.studies.references:
        changed = e.changed(name=f"{e.name}/references={k}", gamma=WHOLE, references={"k": k})
        rows.append(Row(f"k = {k}", str(k), Made(changed, "spr")))
    return rows


def _pool_sizes(settings: Settings, e: Experiment, pairs: int) -> list[Row]:
    sizes = [size for size in settings.studies.pool_sizes if size <= pairs]
    if not sizes:
        raise NothingToCompareError(
            f"studies.pool_sizes: none is within the {pairs:,} captioned clips of pool {e.pool}; name "
            "smaller ones, such as a hundredth, a tenth and the whole"
        )
    rows = []
    for size in sizes:
        changed = e.changed(name=f"{e.name}/pool_size={size}", pool_size=size)
        rows.append(Row(f"N = {symbol(size)}", _plain(size), Made(changed, "ona_spr")))
    return rows


def _rewriters(settings: Settings, e: Experiment, pairs: int) -> list[Row]:
    if not settings.studies.rewriters:
        raise NothingToCompareError(
            'studies.rewriters: none is set; name those to compare, as in studies.rewriters."ChatGPT" = '
            '{ model = "gpt-3.5-turbo" }'
        )
    return [
        Row(name, name, Made(e.changed(rewriter=rewriter.model_dump()), "ona_spr"))
        for name, rewriter in settings.studies.rewriters.items()
    ]


def variants(e: Experiment, family: str) -> list[Row]:
    """The four variants of an experiment, whose backbone is of this family: rows of Tables 1 and 3."""
    return [Row(variant, f"{family}/{variant}", Made(e, variant)) for variant in VARIANTS]


SWEEPS: Mapping[str, Sweep] = {
    "table_2a": Sweep("N", _pool_sizes),
    "table_2b": Sweep("γ", _gamma),
    "table_2c": Sweep("k", _references),
    "table_2d": Sweep(None, _rewriters),
    "figure_4": Sweep("η", _eta),
}
"""Studies that set one thing after another, of one experiment, by name."""

TITLES: Mapping[str, str] = {
    "table_1": "Table 1: text to video",
    "table_2a": "Table 2a: size of the candidate pool, ONA + SPR",
    "table_2b": "Table 2b: share of steps that see the rewritten prompt, SPR",
    "table_2c": "Table 2c: references for rewriting, SPR with γ = 1",
    "table_2d": "Table 2d: rewriting engines, ONA + SPR",
    "table_3": "Table 3: text to image",
    "table_4": "Table 4: time of each stage",
    "figure_3": "Figure 3: the same prompt and noise, without the method and with it",
    "figure_4": "Figure 4: share of inverted noise, ONA",
}
"""All studies in the paper's order: the title of each, by name."""

ALL = tuple(TITLES)
OF_ONE = (*SWEEPS, "table_4")
"""Studies of one experiment. The others span those that the settings name."""


def studied(settings: Settings, *, images: bool) -> list[Experiment]:
    """The experiments that the settings name for studies, of those that make images, or videos."""
    named = [settings.experiment(name) for name in settings.studies.experiments]
    return [e for e in named if settings.backbones[e.backbone].makes_images == images]
