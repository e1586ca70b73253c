"""What asset bodies are handed: the workspace of the run."""

from functools import cached_property
from pathlib import Path

import dagster as dg

from onaspr_assets.runs import end_dead_runs
from onaspr_core.settings import Settings, load_settings
from onaspr_core.workspace import Workspace


class WorkspaceResource(dg.ConfigurableResource):
    """Settings and stores, read when a run first asks and kept to its end.

    The default executor runs the steps of a run in one process, so a model that two assets need is loaded
    once.
    """

    settings_path: str

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Before the first step, and whenever a sensor looks: what killed runs held is given back."""
        if context.instance is not None:
            for run_id in end_dead_runs(context.instance):
                dg.get_dagster_logger().warning(f"run {run_id} died; it is marked as failed")

    @cached_property
    def _workspace(self) -> Workspace:
        return Workspace(self.settings())

    def settings(self) -> Settings:
        """Read the settings file as it is now.

        Raises:
            UserError: one error that lists every mistake in it.
        """
        return load_settings(Path(self.settings_path))

    def open(self) -> Workspace:
        """Return the run's workspace."""
        return self._workspace
