"""The paper's own numbers, and where they contradict one another. They are printed as they stand there.

`paper.csv` holds them as they were read from the paper's text (arXiv 2311.00949), one row a number. Whether
one compares with a number of ours is the concern of `comparable`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple


class PaperNumber(NamedTuple):
    """One number of the paper: of which benchmark (empty in Table 4), and its digits as printed."""

    benchmark: str
    text: str

    @property
    def value(self) -> float:
        """The number itself."""
        return float(self.text.replace(",", ""))


@cache
def paper_numbers(study: str) -> Mapping[str, Mapping[str, PaperNumber]]:
    """The numbers of a study as row → metric → number, rows in the paper's order; empty where it has none."""
    text = resources.files("onaspr_core.studies").joinpath("paper.csv").read_text(encoding="utf-8")
    found: dict[str, dict[str, PaperNumber]] = {}
    for row in csv.DictReader(text.splitlines()):
        if row["study"] == study:
            found.setdefault(row["row"], {})[row["metric"]] = PaperNumber(row["benchmark"], row["value"])
    return found


CONTRADICTIONS: Mapping[str, tuple[str, ...]] = {
    "table_1": (
        "The paper's FID of SCVideo + ONA + SPR is 42.902 in Table 1 and 42.901 in Table 2d, whose other "
        "numbers are equal.",
        "The paper gives the FID 43.585 twice in Table 1: to ModelScope + SPR and to SCVideo + ONA.",
    ),
    "table_2a": (
        "The paper says that Table 2a applies both ONA and SPR. Its row N = 100K equals SCVideo + ONA of "
        "Table 1 (FID 43.585), not SCVideo + ONA + SPR (42.902), whose pool has that size.",
        "The paper's text calls larger pools typically better; in its table FID goes from 43.236 at 10K to "
        "43.585 at 100K, and FVD is lowest there and highest at 1M.",
    ),
    "table_2b": (
        "In the paper FVD at γ = 0.1 (769.35) is worse than without rewriting (750.74); Table 1 takes FVD "
        "and IS of SCVideo + SPR from γ = 1, and the other metrics from γ = 0.1.",
    ),
    "table_2c": (
        "The paper's row k = 5 is row γ = 1 of Table 2b, as it should be. Its text speaks of consistent "
        "improvements; FVD goes from 808.16 (k = 0) to 745.07, 824.99, 712.88 and back to 755.55 (k = 10).",
    ),
    "table_2d": (
        "The paper's FID with ChatGPT is 42.901 in Table 2d and 42.902 in Table 1, whose other numbers are "
        "equal.",
    ),
    "figure_4": (
        "The paper draws Figure 4 and prints none of its numbers that could be read with certainty: those at "
        "η = 0 and 0.5 are SCVideo and SCVideo + ONA of Table 1, which use these values.",
    ),
    "table_4": (
        "The paper's feature extraction is offline in practice; of what it is, the paper does not say. Its "
        "times are of one A100 with SCVideo, averaged over 3,000 samples.",
    ),
}
"""Notes under the paper's numbers, by study: contradictions are told, not repaired."""
