"""`python -m onaspr_core [EXPERIMENT]`: check the settings file, and that it names the experiment."""

import argparse
import sys

from onaspr_core.errors import PlainError
from onaspr_core.settings import default_path, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Print what the file names; 1 with every mistake on standard error where there is one."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core", description=__doc__)
    parser.add_argument("experiment", nargs="?", help="a name under [experiments] in the settings")
    parser.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(chosen.settings)
        if chosen.experiment is not None:
            settings.experiment(chosen.experiment)
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    for section in ("pools", "backbones", "experiments"):
        print(f"{section}: {', '.join(getattr(settings, section))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
