"""KID at the paper's size: our estimate over all samples, beside the ways in which others compute it.

14,950 rows of 2,048 values a side. torch-fidelity's function follows its `metric_kid.py`: 100 subsets of
1,000 rows, the kernels of each anew. The other contender is the unbiased estimate over all samples by its
definition, on kernels held whole (1.8 GB each). Only that one is the same number, and ours must agree with it
within 1e-9 relative. Each runs once without a warm-up, which would cost as much again.
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from _timing import forget_peak, peak_mb, print_table, verdict
from frechet import sides

from onaspr_core.evaluation.kernel_distance import kernel_distance

Array = npt.NDArray[np.float64]
LARGEST_DIFFERENCE = 1e-9


def _kernel(x: Array, y: Array) -> Array:
    return np.asarray((x @ y.T / x.shape[1] + 1.0) ** 3, dtype=np.float64)


def _unbiased(a: Array, b: Array) -> float:
    """Return the unbiased squared discrepancy by its definition."""
    m = len(a)
    within = sum(float(k.sum() - np.trace(k)) for k in (_kernel(x, x) for x in (a, b)))
    return within / (m * (m - 1)) - 2.0 * float(_kernel(a, b).sum()) / (m * m)


def torch_fidelity(a: Array, b: Array, subsets: int = 100, size: int = 1_000) -> float:
    """Return the mean of `kid_features_to_metric` of torch-fidelity."""
    rng = np.random.RandomState(2020)
    found = []
    for _ in range(subsets):
        own = (x[rng.choice(len(x), size, replace=False)] for x in (a, b))
        found.append(_unbiased(*own))
    return float(np.mean(found))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=14_950)
    parser.add_argument("--width", type=int, default=2_048)
    chosen = parser.parse_args()
    a, b = sides(chosen.rows, chosen.rows, chosen.width)
    functions: dict[str, Callable[[Array, Array], float]] = {
        "onaspr, all samples": kernel_distance,
        "by definition, all samples": _unbiased,
        "torch-fidelity's 100 subsets of 1,000": torch_fidelity,
    }
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    found: dict[str, float] = {}
    seconds: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for name, function in functions.items():
        before, started = forget_peak(), time.perf_counter()
        found[name] = function(a, b)
        seconds[name] = time.perf_counter() - started
        peaks[name] = peak_mb() - before
    ours, value = seconds["onaspr, all samples"], found["onaspr, all samples"]
    rows = []
    for name in functions:
        difference = abs(found[name] - value) / abs(value)
        exact = "all samples" in name
        rows.append(
            [
                *(name, f"{seconds[name]:.1f}", f"{ours / seconds[name]:.2f}"),
                *(f"{peaks[name]:.0f}", f"{found[name]:.9f}"),
                f"{difference:.1e}, {verdict(difference, LARGEST_DIFFERENCE)}"
                if exact
                else "another estimate",
            ]
        )
    header = [f"KID, {chosen.rows} x {chosen.width} a side", "seconds", "ours / theirs"]
    print_table([*header, "more MB", "distance", "difference"], rows)


if __name__ == "__main__":
    main()
