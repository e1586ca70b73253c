"""`python -m onaspr_core.studies`: print the experiments that the studies of the settings compare."""

from __future__ import annotations

import argparse
import sys

from onaspr_core.errors import PlainError
from onaspr_core.settings import default_path, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Print the names; 1 with a sentence on standard error where the settings cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.studies", description=__doc__)
    parser.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(chosen.settings)
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    for name in settings.studies.experiments:
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
