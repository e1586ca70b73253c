"""`python -m onaspr_core.reports EXPERIMENT`: print an experiment's score table and its report's path."""

from __future__ import annotations

import argparse
import sys

from onaspr_core.errors import PlainError
from onaspr_core.evaluation.score_table import scores_of
from onaspr_core.reports.files import report_folder
from onaspr_core.reports.tables import text_table
from onaspr_core.settings import default_path, load_settings
from onaspr_core.workspace import Workspace


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the path; 1 with a sentence on standard error where there is none."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.reports", description=__doc__)
    parser.add_argument("experiment", help="a name under [experiments] in the settings")
    parser.add_argument("--settings", default=default_path(), help="the settings file (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(chosen.settings)
        experiment = settings.experiment(chosen.experiment)
        workspace = Workspace(settings)
        print(text_table(scores_of(workspace, experiment)), end="")
        folder, page = report_folder(workspace, experiment), "index.html"
        there = f"Report: {folder.path(page)}"
        print(f"\n{there}" if folder.has(page) else "\nThere is no report yet; materialize `gallery`.")
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
