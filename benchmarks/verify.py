"""How fast a store is verified, beside `sha256sum` on the same files.

Two stores: large items (32 MB, as videos of many frames are) and small ones (64 KB, as features are). Files
lie in the page cache, so that hashing is measured and not the disk. Bar: large items at least as fast.
"""

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from _timing import at_least, interleaved, median_ratio, print_table

from onaspr_core.artifacts import content_key
from onaspr_core.settings import Settings
from onaspr_core.verification import verify
from onaspr_core.workspace import Workspace

STORES = {"large items": (16, 32 << 20), "small items": (1000, 64 << 10)}
REPETITIONS = 5
BAR = 1.0


def main() -> None:
    """Time both in turn on each store and print a table."""
    rows = []
    for name, (items, size) in STORES.items():
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(Settings(base=Path(folder), pools={}, backbones={}, experiments={}))
            for number in range(items):
                workspace.store.write("video", content_key("x", n=number), ".bin", os.urandom(size), {})
            seconds = interleaved(
                {"sha256sum": partial(sha256sum, Path(folder)), "verify": partial(checked, workspace)},
                REPETITIONS,
            )
        theirs, ours = seconds["sha256sum"], seconds["verify"]
        rate = [f"{items * size / 1e9 / median(one):.2f}" for one in (theirs, ours)]
        ratio = median_ratio(theirs, ours)
        told = at_least(ratio, BAR) if name == "large items" else ""
        rows.append([name, f"{items} × {size / 1e6:.2f} MB", *rate, f"{ratio:.2f}", told])
    print(f"medians of {REPETITIONS} interleaved repetitions, {os.cpu_count()} cores, GB/s")
    print_table(["", "store", "sha256sum", "verify", "verify / sha256sum", "bar"], rows)


def checked(workspace: Workspace) -> None:
    """Verify a store in which all is well."""
    assert not any(one.missing or one.damaged for one in verify(workspace))


def sha256sum(folder: Path) -> None:
    """Hash every payload, as many files per call as a command line takes."""
    subprocess.run(
        ["find", folder, "-name", "*.bin", "-exec", "sha256sum", "{}", "+"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
