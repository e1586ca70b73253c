"""The code location: `dagster dev`, or `dagster asset materialize -f definitions.py --select …`."""

import os
from pathlib import Path

import dagster as dg

from onaspr_assets.build import build_defs


@dg.definitions
def defs() -> dg.Definitions:
    """Build the graph; ONASPR_SETTINGS names another settings file than the one beside this file."""
    return build_defs(os.environ.get("ONASPR_SETTINGS") or Path(__file__).with_name("settings.toml"))
