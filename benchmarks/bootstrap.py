"""Intervals at the paper's size: CLIPSIM by paired bootstrap, FID by leaving out groups of prompts.

2,990 prompts, FID over 5 rows of 2,048 features of each video. Bars: 1,000 resamples of CLIPSIM's differences
in under a second; a replicate of FID without building its covariance anew, here at most half the time of
the distance computed from its rows, and equal to it within 1e-6.
"""

import argparse
import os
import time
from statistics import median

import numpy as np
from _timing import interleaved, print_table, verdict

from onaspr_core.evaluation.frechet import ReferenceGaussian, frechet_distance
from onaspr_core.evaluation.jackknife import jackknife, prompt_groups
from onaspr_core.evaluation.statistics import paired_bootstrap

ROWS_PER_VIDEO = 5


def clipsim(prompts: int, resamples: int, repetitions: int) -> None:
    """Time the bootstrap of a mean difference and print a table."""
    differences = np.random.default_rng(0).normal(0.004, 0.03, size=prompts)
    run = {"paired bootstrap": lambda: paired_bootstrap(differences, samples=resamples)}
    taken = median(interleaved(run, repetitions)["paired bootstrap"])
    row = ["paired bootstrap", f"{taken:.3f}", verdict(taken, 1.0)]
    print_table([f"CLIPSIM, {prompts} prompts, {resamples} resamples", "seconds", "bar"], [row])


def fid(prompts: int, width: int, groups: int) -> None:
    """Time the jackknife of FID beside one distance from its rows, and print a table."""
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(width, width)) * np.arange(1, width + 1)[:, None] ** -0.7 / 10
    owners = np.repeat(np.arange(prompts), ROWS_PER_VIDEO)
    real, rows = (rng.normal(size=(len(owners), width)) @ mix + shift for shift in (0.4, 0.41))
    partition = prompt_groups(prompts, groups)
    started = time.perf_counter()
    reference = ReferenceGaussian(real)
    projected = reference.project(rows)
    prepared = time.perf_counter()
    value = reference.distance(projected, np.ones(len(rows)))
    replicates = reference.distances_without(projected, partition[owners])
    taken = time.perf_counter() - prepared
    found = jackknife(value, replicates)
    started_one = time.perf_counter()
    expected = frechet_distance(rows[partition[owners] != 0], real)
    one = time.perf_counter() - started_one
    difference = abs(replicates[0] - expected) / expected
    print_table(
        [
            f"FID, {prompts} x {ROWS_PER_VIDEO} rows x {width}",
            "seconds",
            "each",
            "ratio",
            "bar",
            "difference",
        ],
        [
            ["root of the real side, projection", f"{prepared - started:.1f}", "", "", "", ""],
            [
                *(f"{len(replicates)} replicates", f"{taken:.1f}", f"{taken / len(replicates):.2f}"),
                *(f"{taken / len(replicates) / one:.3f}", verdict(taken / len(replicates) / one, 0.5)),
                f"{difference:.1e}, {verdict(difference, 1e-6)}",
            ],
            ["one distance from rows", f"{one:.1f}", f"{one:.2f}", "1", "", ""],
        ],
    )
    interval = found.interval
    print(f"{interval.estimate:.4f}, 95 % [{interval.low:.4f}, {interval.high:.4f}]")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2_990)
    parser.add_argument("--width", type=int, default=2_048)
    parser.add_argument("--resamples", type=int, default=1_000)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=5)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    clipsim(chosen.prompts, chosen.resamples, chosen.repetitions)
    fid(chosen.prompts, chosen.width, chosen.groups)


if __name__ == "__main__":
    main()
