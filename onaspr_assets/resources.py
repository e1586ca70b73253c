"""What asset bodies are handed: the workspace of the run."""

from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
from filelock import FileLock
from pydantic import PrivateAttr

from onaspr_assets.runs import begin, conclude, end_dead_runs
from onaspr_core.settings import Settings, load_settings
from onaspr_core.workspace import Workspace


class WorkspaceResource(dg.ConfigurableResource):
    """Settings and stores, read when a run first asks and kept to its end.

    The default executor runs the steps of a run in one process, so a model that two assets need is loaded
    once. `cluster` is a resource of dagster-ray, which makes a Ray cluster or knows one; without it, workers
    are those of the cluster that the settings name.
    """

    settings_path: str
    cluster: dg.ResourceDependency[Any] = None  # type: ignore[assignment]
    _context: dg.InitResourceContext | None = PrivateAttr(None)
    _lock: FileLock | None = PrivateAttr(None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Before the first step, and whenever a sensor looks: what killed runs held is given back."""
        self._context = context
        if context.instance is not None:
            if context.run is not None:
                self._lock = begin(context.instance, context.run.run_id)
            for run_id in end_dead_runs(context.instance):
                dg.get_dagster_logger().warning(f"run {run_id} died; it is marked as failed")

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """After the last step, however it ended: the run's workers are let go of."""
        if "_workspace" in self.__dict__:
            self._workspace.close()
        if self._lock is not None and context.instance is not None and context.run is not None:
            conclude(context.instance, context.run.run_id, self._lock)

    @cached_property
    def _workspace(self) -> Workspace:
        return Workspace(self.settings(), self._connect if self.cluster is not None else None)

    def _connect(self) -> None:
        """Have the cluster made, where it is not, and connect to it."""
        for there, act in (("created", "create"), ("ready", "wait"), ("connected", "connect")):
            if not getattr(self.cluster, there):
                getattr(self.cluster, act)(self._context)

    def settings(self) -> Settings:
        """Read the settings file as it is now.

        Raises:
            UserError: one error that lists every mistake in it.
        """
        return load_settings(Path(self.settings_path))

    def open(self) -> Workspace:
        """Return the run's workspace."""
        return self._workspace
