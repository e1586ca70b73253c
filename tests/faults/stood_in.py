"""The code location of a small project, for processes of their own: with stand-ins for models, and a log.

ONASPR_SETTINGS names the settings file; the log lies beside it (`tests.faults.child`).
"""

import os
from contextlib import ExitStack
from pathlib import Path

import dagster as dg

from onaspr_assets.build import build_defs
from tests.faults.child import LOG, logged
from tests.small_project import models_stood_in_for

SETTINGS = Path(os.environ["ONASPR_SETTINGS"])

to_the_end_of_the_process = ExitStack()
to_the_end_of_the_process.enter_context(models_stood_in_for(workers=True))
to_the_end_of_the_process.enter_context(logged(SETTINGS.with_name(LOG)))


@dg.definitions
def defs() -> dg.Definitions:
    """Build the graph as it is used."""
    return build_defs(SETTINGS)
