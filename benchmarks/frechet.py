"""The Fréchet distance of Inception's width, beside clean-fid's and torch-fidelity's functions.

Their functions are those of clean-fid's `fid.py` and torch-fidelity's `metric_fid.py`, from features to the
distance, with the installed scipy: both packages as they are published ask for torchvision, and clean-fid's
call of `sqrtm` passes an argument that scipy 1.18 took away. Features fall off as Inception's do, on both
sides. Bars: at most half their time at 14,950 rows, with a relative difference of at most 1e-6; a fifth of
their time with fewer rows than dimensions, and half where only one side has few: the other's covariance is
the same work for all. With few rows no bar is on the difference, which is theirs: roots of a singular product
are inexact. Tests hold ours to closed forms.
"""

import argparse
import os
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt
from _timing import interleaved, median_ratio, print_table, verdict
from scipy import linalg  # type: ignore[import-untyped]

from onaspr_core.evaluation.frechet import frechet_distance

Array = npt.NDArray[np.float64]
LARGEST_DIFFERENCE = 1e-6


def clean_fid(a: Array, b: Array) -> float:
    """Return `fid_from_feats` of clean-fid."""
    mu1, sigma1 = np.mean(a, axis=0), np.cov(a, rowvar=False)
    mu2, sigma2 = np.mean(b, axis=0), np.cov(b, rowvar=False)
    diff = mu1 - mu2
    covmean = linalg.sqrtm(sigma1.dot(sigma2))
    if not np.isfinite(covmean).all():
        offset = np.eye(sigma1.shape[0]) * 1e-6
        covmean = linalg.sqrtm((sigma1 + offset).dot(sigma2 + offset))
    trace = np.trace(covmean.real)
    return float(diff.dot(diff) + np.trace(sigma1) + np.trace(sigma2) - 2 * trace)


def torch_fidelity(a: Array, b: Array) -> float:
    """Return `fid_features_to_statistics` and `fid_statistics_to_metric` of torch-fidelity."""
    mu1, sigma1 = np.mean(a, axis=0), np.cov(a, rowvar=False)
    mu2, sigma2 = np.mean(b, axis=0), np.cov(b, rowvar=False)
    diff = mu1 - mu2
    trace = np.sum(np.sqrt(np.linalg.eigvals(sigma1.dot(sigma2))).real)
    return float(diff.dot(diff) + np.trace(sigma1) + np.trace(sigma2) - 2 * trace)


def sides(rows: int, real_rows: int, width: int) -> tuple[Array, Array]:
    """Return generated and real features: alike, but for the mean and some noise."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(width, width)) * np.arange(1, width + 1)[:, None] ** -0.7 / 10
    a, b = (rng.normal(size=(count, width)) @ mix + 0.4 for count in (rows, real_rows))
    return a, b + 0.01 * rng.normal(size=b.shape) + 0.01


def compare(rows: int, real_rows: int, width: int, bar: float, repetitions: int) -> None:
    """Time the three on the same features and print a table."""
    a, b = sides(rows, real_rows, width)
    functions = {"clean-fid's": clean_fid, "torch-fidelity's": torch_fidelity, "onaspr": frechet_distance}
    found: dict[str, float] = {}

    def runner(name: str, function: Callable[[Array, Array], float]) -> Callable[[], None]:
        def run() -> None:
            found[name] = function(a, b)

        return run

    seconds = interleaved({name: runner(name, one) for name, one in functions.items()}, repetitions)
    ours, value = seconds["onaspr"], found["onaspr"]
    table = [["onaspr", f"{median(ours):.2f}", "1", "", f"{value:.9f}", "", ""]]
    for name in ("clean-fid's", "torch-fidelity's"):
        ratio = median_ratio(ours, seconds[name])
        difference = abs(value - found[name]) / abs(found[name])
        table.append(
            [
                *(name, f"{median(seconds[name]):.2f}", f"{ratio:.3f}", verdict(ratio, bar)),
                *(f"{found[name]:.9f}", f"{difference:.1e}"),
                verdict(difference, LARGEST_DIFFERENCE) if min(rows, real_rows) > width else "",
            ]
        )
    header = [f"{rows} and {real_rows} x {width}", "seconds", "ours / theirs", "bar"]
    print_table([*header, "distance", "difference", "bar"], table)


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
    compare(few, few, width, 0.2, times)
    compare(few, rows, width, 0.5, times)


if __name__ == "__main__":
    main()
