"""A workspace: the settings and the stores they name, opened once per run.

Every stage function takes one. It also holds the models of the run, each loaded once and only when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from onaspr_core.artifacts import ArtifactStore
from onaspr_core.catalog import Catalog
from onaspr_core.engines.local import LocalEngine
from onaspr_core.errors import UserError
from onaspr_core.folders import OPENED_BY_LANCE, is_url
from onaspr_core.paths import resolve
from onaspr_core.progress import logger
from onaspr_core.settings import Settings

if TYPE_CHECKING:
    from onaspr_core.engines.protocol import Engine

Model = TypeVar("Model")

Errand = tuple[Callable[..., None], tuple[Any, ...]]
"""A function of a module, called with the workspace at home and these arguments."""


class ModelCache:
    """Models by name, loaded when first asked for and kept for the run."""

    def __init__(self) -> None:
        """Start with no model."""
        self._models: dict[str, Any] = {}
        self._devices: dict[str, str | None] = {}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models loaded so far, here or by workers, in order."""
        return tuple(self._devices)

    def device(self, name: str) -> str | None:
        """Return the device of a model that was loaded, here or by a worker; None where it has none."""
        return self._devices.get(name)

    def note(self, name: str, device: str | None) -> None:
        """Take in that a worker loaded a model."""
        self._devices.setdefault(name, device)

    def get(self, name: str, load: Callable[[], Model]) -> Model:
        """Return a model, loading it the first time.

        Args:
            name: What it is, with everything that tells it from another of its kind.
            load: Called once.
        """
        if name not in self._models:
            logger.info("loading %s", name)
            self._models[name] = load()
            device = getattr(self._models[name], "device", None)
            self.note(name, None if device is None else str(device))
        model: Model = self._models[name]
        return model


class Workspace:
    """Settings, artifact store, catalog and model cache of one run.

    Under `store.root` lie `artifacts/`, `catalog.duckdb`, `captions.lance/`, `shards/` and `reports/`. With a
    URL as root the catalog, which one machine writes, lies in `data/local` beside the settings file; and so
    does the table of captions where LanceDB is not known to open such a URL.

    A workspace that is sent to another process is opened there with the same settings, and not by that alone
    the same: a worker has models of its own, no catalog and `errands` (`onaspr_core.engines.worker`).
    """

    errands: list[Errand] | None = None
    """What a worker leaves to the process that runs the stage, which has the catalog; None at home."""

    def __init__(self, settings: Settings, connect: Callable[[], None] | None = None) -> None:
        """Open nothing yet: every store is made when it is first written.

        Args:
            settings: What to open.
            connect: Called before a Ray cluster is first used, to connect to it; left out, the address in the
                settings is.
        """
        self.settings = settings
        self.processors = os.cpu_count() or 1
        self._connect = connect
        root = resolve(settings.store.root, settings.base).rstrip("/")
        local = settings.base / "data" / "local" if is_url(root) else Path(root)
        self.store = ArtifactStore(f"{root}/artifacts")
        self.shards_path = f"{root}/shards"
        self.catalog = Catalog(local / "catalog.duckdb")
        self.lance_path = f"{root if root.startswith(OPENED_BY_LANCE) else local}/captions.lance"
        self.reports_path = f"{root}/reports"
        self.models = ModelCache()

    @cached_property
    def engine(self) -> Engine:
        """Where items are made: this process, or the workers of a Ray cluster, which start with the first.

        Raises:
            UserError: when the settings ask for Ray and it is not installed.
        """
        if self.settings.compute.engine == "local":
            return LocalEngine()
        try:
            from onaspr_core.engines.on_ray import RayEngine
        except ModuleNotFoundError as problem:
            raise UserError(
                f'compute.engine = "ray": {problem.name} is not installed; `pip install -c constraints.txt '
                "'.[ray]'`"
            ) from None
        return RayEngine(self, self._connect)

    def close(self) -> None:
        """Let go of the workers, if there are any."""
        if "engine" in self.__dict__:
            self.engine.close()

    def __reduce__(self) -> tuple[Callable[[Settings], Workspace], tuple[Settings]]:
        from onaspr_core.engines.worker import workspace_of

        return workspace_of, (self.settings,)
