"""What the benchmarks share: interleaved timing and a table."""

import ctypes
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median


def interleaved(contenders: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Run each contender once to warm up and then all of them in turn; return seconds per repetition.

    Turns alternate in direction, so that a machine that slows down or speeds up favours nobody.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for repetition in range(repetitions):
        names = list(contenders)
        for name in names if repetition % 2 == 0 else reversed(names):
            started = time.perf_counter()
            contenders[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Return the median of the ratios of repetitions that ran beside each other."""
    return median(one / other for one, other in zip(numerator, denominator, strict=True))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, ["-" * width for width in widths], *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), flush=True
        )


def verdict(ratio: float, bar: float) -> str:
    """Say whether a ratio keeps its bar."""
    return f"≤ {bar:g}: {'kept' if ratio <= bar else 'BROKEN'}"


def at_least(value: float, bar: float) -> str:
    """Say whether a value reaches its bar."""
    return f"≥ {bar:g}: {'kept' if value >= bar else 'BROKEN'}"


def peak_mb() -> float:
    """The most memory this process ever held; `getrusage` would count its parent's before the fork too."""
    return _status_mb("VmHWM")


def forget_peak() -> float:
    """Let `peak_mb` count anew from what this process holds now, and return that.

    What was freed is given back to the system before: a peak within it would not be seen.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (told,) = (line.split()[1] for line in lines if line.startswith(name))
    return int(told) * 1024 / 1e6
