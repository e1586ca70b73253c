"""What asking again costs: a second `make demo`, beside the first and beside Dagster's own start.

Runs what `make demo` asks of Dagster (observe, materialize) in a temporary store, on the first prompts of the
experiment, twice, and the same for a project with one empty asset. Needs the world: `make world`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _settings import ROOT, replaced

EMPTY_PROJECT = """
import dagster as dg

experiments = dg.DynamicPartitionsDefinition(name="experiments")

@dg.op
def add(context):
    context.instance.add_dynamic_partitions("experiments", ["miniature"])

@dg.job
def observe_settings():
    add()

@dg.asset(partitions_def=experiments)
def nothing():
    pass

defs = dg.Definitions(assets=[nothing], jobs=[observe_settings], executor=dg.in_process_executor)
"""


def seconds(definitions: Path, environment: dict[str, str]) -> float:
    """Run observe and materialize once; return the wall seconds of both."""
    started = time.monotonic()
    for words in (
        ("job", "execute", "-f", str(definitions), "-j", "observe_settings"),
        ("asset", "materialize", "-f", str(definitions), "--select", "*", "--partition", "miniature"),
    ):
        command = [sys.executable, "-m", "dagster", *words]
        finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if finished.returncode:
            raise SystemExit(finished.stdout[-2000:] + finished.stderr[-2000:])
    return time.monotonic() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8, help="how many prompts the first demo generates")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = (ROOT / "settings.toml").read_text()
        text = replaced(text, r"^root = .*$", f'root = "{folder}/store"')
        text = replaced(text, r"^prompt_limit = \d+$", f"prompt_limit = {options.prompts}")
        settings = ROOT / ".second-demo.toml"
        empty = folder / "empty.py"
        empty.write_text(EMPTY_PROJECT)
        homes = []
        for home in ("home", "empty-home"):
            (folder / home).mkdir()
            (folder / home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
            homes.append({**os.environ, "DAGSTER_HOME": str(folder / home), "ONASPR_SETTINGS": str(settings)})
        try:
            settings.write_text(text)
            first, second = (seconds(ROOT / "definitions.py", homes[0]) for _ in range(2))
            floor = min(seconds(empty, homes[1]) for _ in range(2))
        finally:
            settings.unlink(missing_ok=True)
    print(f"{'demo of ' + str(options.prompts) + ' prompts':<36}{'seconds':>9}{'ratio':>8}")
    for label, value, ratio in (
        ("Dagster alone, one empty asset", floor, 1.0),
        ("second demo, beside Dagster alone", second, second / floor),
        ("second demo, beside the first", second, second / first),
        ("first demo", first, 1.0),
    ):
        print(f"{label:<36}{value:>9.1f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
