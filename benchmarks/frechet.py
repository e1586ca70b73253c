"""The Fréchet distance of Inception's width, beside clean-fid's and torch-fidelity's functions.

Their functions are those of clean-fid's `fid.py` and torch-fidelity's `metric_fid.py`, with the installed
scipy: both packages as they are published ask for torchvision, and clean-fid's call of `sqrtm` passes an
argument that scipy 1.18 took away. They are timed from features to the distance, and once from means and
covariances, which to find is the same work for all. Features fall off as Inception's do, on both sides. Bars:
at most half their time at 14,950 rows, with a relative difference of at most 1e-6; a fifth of their time with
fewer rows than dimensions. Where only one side has few, the other's covariance (or a product as large) is the
same work for all. With few rows no bar is on the difference, which is theirs: roots of a singular product are
inexact. Tests hold ours to closed forms.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import numpy.typing as npt
from _timing import interleaved, median_ratio, print_table, verdict
from scipy import linalg  # type: ignore[import-untyped]

from onaspr_core.evaluation.frechet import frechet_distance, frechet_distance_from_moments, moments

Array = npt.NDArray[np.float64]
LARGEST_DIFFERENCE = 1e-6


def clean_fid(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    """Return `frechet_distance` of clean-fid."""
    diff = mu1 - mu2
    covmean = linalg.sqrtm(sigma1.dot(sigma2))
    if not np.isfinite(covmean).all():
        offset = np.eye(sigma1.shape[0]) * 1e-6
        covmean = linalg.sqrtm((sigma1 + offset).dot(sigma2 + offset))
    trace = np.trace(covmean.real)
    return float(diff.dot(diff) + np.trace(sigma1) + np.trace(sigma2) - 2 * trace)


def torch_fidelity(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    """Return `fid_statistics_to_metric` of torch-fidelity."""
    diff = mu1 - mu2
    trace = np.sum(np.sqrt(np.linalg.eigvals(sigma1.dot(sigma2))).real)
    return float(diff.dot(diff) + np.trace(sigma1) + np.trace(sigma2) - 2 * trace)


def their_moments(features: Array) -> tuple[Array, Array]:
    """Return mean and covariance as both packages take them from features."""
    return np.mean(features, axis=0), np.cov(features, rowvar=False)


THEIRS = {"clean-fid's": clean_fid, "torch-fidelity's": torch_fidelity}


def sides(rows: int, real_rows: int, width: int) -> tuple[Array, Array]:
    """Return generated and real features: alike, but for the mean and some noise."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(width, width)) * np.arange(1, width + 1)[:, None] ** -0.7 / 10
    a, b = (rng.normal(size=(count, width)) @ mix + 0.4 for count in (rows, real_rows))
    return a, b + 0.01 * rng.normal(size=b.shape) + 0.01


def compare(rows: int, real_rows: int, width: int, bar: float, repetitions: int) -> None:
    """Time the three on the same features."""
    a, b = sides(rows, real_rows, width)
    runs = {name: lambda one=one: one(*their_moments(a), *their_moments(b)) for name, one in THEIRS.items()}
    title = f"{rows} and {real_rows} x {width}"
    print_compared(
        title,
        {**runs, "onaspr": lambda: frechet_distance(a, b)},
        bar,
        repetitions,
        min(rows, real_rows) > width,
    )


def compare_from_moments(rows: int, width: int, bar: float, repetitions: int) -> None:
    """Time the three on the same means and covariances."""
    found = [one for side in sides(rows, rows, width) for one in moments(side)]
    runs = {name: lambda one=one: one(*found) for name, one in THEIRS.items()}
    ours = {"onaspr": lambda: frechet_distance_from_moments(*found)}
    print_compared(f"from means and covariances, {width}", {**runs, **ours}, bar, repetitions, True)


def print_compared(
    title: str, runs: Mapping[str, Callable[[], float]], bar: float, repetitions: int, exact: bool
) -> None:
    """Time runs in turns and print a table; where they are `exact`, differences have a bar too."""
    found: dict[str, float] = {}

    def noting(name: str) -> Callable[[], None]:
        def run() -> None:
            found[name] = runs[name]()

        return run

    seconds = interleaved({name: noting(name) for name in runs}, repetitions)
    ours, value = seconds["onaspr"], found["onaspr"]
    table = [["onaspr", f"{median(ours):.2f}", "1", "", f"{value:.9f}", "", ""]]
    for name in THEIRS:
        ratio = median_ratio(ours, seconds[name])
        difference = abs(value - found[name]) / abs(found[name])
        table.append(
            [
                *(name, f"{median(seconds[name]):.2f}", f"{ratio:.3f}", verdict(ratio, bar)),
                *(f"{found[name]:.9f}", f"{difference:.1e}"),
                verdict(difference, LARGEST_DIFFERENCE) if exact else "",
            ]
        )
    print_table([title, "seconds", "ours / theirs", "bar", "distance", "difference", "bar"], table)


def main() -> None:
    """Compare with many rows, with few on one side, and with few on both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=2_048)
    parser.add_argument("--rows", type=int, default=14_950)
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--repetitions", type=int, default=1)
    chosen = parser.parse_args()
    width, rows, few, times = chosen.width, chosen.rows, chosen.few, chosen.repetitions
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {times} interleaved repetition(s)")
    compare(rows, rows, width, 0.5, times)
    compare_from_moments(rows, width, 0.5, times)
    compare(few, few, width, 0.2, times)
    compare(few, rows, width, 0.2, times)


if __name__ == "__main__":
    main()
