"""A stage that never comes to an end of damage says where to look."""

import pytest

from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.repairs import MOST_RUNS, run_stage
from onaspr_core.workspace import Workspace


def test_damage_in_every_run_names_the_store_and_not_the_settings_folder(tiny_workspace: Workspace) -> None:
    runs = 0

    def stage(workspace: Workspace) -> Outcome:
        nonlocal runs
        runs += 1
        workspace.store.damaged.add(("video", str(runs)))
        raise UserError("damaged")

    with pytest.raises(UserError, match="damage in many places") as told:
        run_stage(tiny_workspace, stage)
    assert runs == MOST_RUNS
    store = tiny_workspace.reports_path.removesuffix("/reports")
    assert f"the store {store}/artifacts has" in str(told.value)
