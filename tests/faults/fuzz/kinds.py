"""All kinds of bad input, and how cases of them are judged."""

import resource
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from onaspr_core.pool.workers import HUNG
from tests.faults.fuzz import documents, tables, tars, texts, videos
from tests.faults.fuzz.sandbox import sandbox

TakeIn = Callable[[Path, Mapping[int, Random]], None]


@dataclass(frozen=True)
class Kind:
    """A kind of bad input: how many of `CASES` are its, how it is taken in, how many share a project."""

    cases: int
    take_in: TakeIn
    together: int = 1


def _single(take_in: Callable[[Path, int, Random], None]) -> TakeIn:
    """A kind whose every case has a project of its own."""

    def take_one_in(folder: Path, cases: Mapping[int, Random]) -> None:
        [(number, rng)] = cases.items()
        take_in(folder, number, rng)

    return take_one_in


KINDS = {
    "videos": Kind(90, videos.take_in, together=45),
    "tars": Kind(60, tars.take_in, together=30),
    "captions": Kind(40, texts.take_in, together=40),
    "csv": Kind(25, _single(tables.csv_take_in)),
    "json": Kind(12, _single(tables.json_take_in)),
    "parquet": Kind(13, _single(tables.parquet_take_in)),
    "settings": Kind(20, _single(documents.settings)),
    "prompts": Kind(15, _single(documents.prompts)),
    "benchmark": Kind(15, _single(documents.benchmark)),
    "vbench": Kind(5, _single(documents.vbench)),
    "takedown": Kind(5, _single(documents.takedown)),
}
CASES = sum(kind.cases for kind in KINDS.values())


@dataclass(frozen=True)
class Cases:
    """Cases that share a project, by number; each follows from seed, kind and its own number alone."""

    seed: int
    kind: str
    numbers: Sequence[int]
    folder: Path


@dataclass(frozen=True)
class Verdict:
    """What came of cases: what was wrong, if anything, and the most memory the process had, in bytes."""

    cases: Cases
    fault: str
    memory: int = 0


def judge(cases: Cases) -> Verdict:
    """Take cases in, and say what was wrong. Raises nothing."""
    randoms = {number: Random(f"{cases.seed} {cases.kind} {number}") for number in cases.numbers}
    fault = ""
    try:
        with sandbox(cases.folder) as project:
            KINDS[cases.kind].take_in(project, randoms)
    except BaseException:
        fault = traceback.format_exc()
    return Verdict(cases, fault, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def lost(cases: Cases, how: str) -> Verdict:
    """The verdict on cases over which their process ended itself or was ended."""
    return Verdict(cases, "hangs" if how == HUNG else "ends its process")
