"""What loading the definitions costs beyond importing dagster itself, in fresh processes.

Bar: at most 2 seconds more than dagster's own import.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from _timing import interleaved, median_ratio, print_table

ROOT = Path(__file__).parent.parent
REPETITIONS = 7
BAR_SECONDS = 2.0
CONTENDERS = {
    "import dagster": "import dagster",
    "load definitions": "import definitions; definitions.defs()",
}


def main() -> None:
    """Time both in turn and print a table."""
    seconds = interleaved(
        {
            name: partial(subprocess.run, [sys.executable, "-c", code], cwd=ROOT, check=True)
            for name, code in CONTENDERS.items()
        },
        REPETITIONS,
    )
    alone, loaded = (seconds[name] for name in CONTENDERS)
    beyond = median(one - other for one, other in zip(loaded, alone, strict=True))
    kept = "kept" if beyond <= BAR_SECONDS else "BROKEN"
    print(f"medians of {REPETITIONS} interleaved processes")
    print_table(
        ["", "seconds", "ratio", "beyond dagster"],
        [
            ["import dagster", f"{median(alone):.2f}", "1", ""],
            [
                "load definitions",
                f"{median(loaded):.2f}",
                f"{median_ratio(loaded, alone):.2f}",
                f"{beyond:.2f} s, ≤ {BAR_SECONDS:g} s: {kept}",
            ],
        ],
    )


if __name__ == "__main__":
    main()
