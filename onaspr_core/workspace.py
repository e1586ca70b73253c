"""A workspace: the settings and the stores they name, opened once per run.

Every stage function takes one. It also holds the models of the run, each loaded once and only when asked for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from onaspr_core.artifacts import ArtifactStore
from onaspr_core.catalog import Catalog
from onaspr_core.paths import resolve
from onaspr_core.progress import logger
from onaspr_core.settings import Settings

Model = TypeVar("Model")


class ModelCache:
    """Models by name, loaded when first asked for and kept for the run."""

    def __init__(self) -> None:
        """Start with no model."""
        self._models: dict[str, Any] = {}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models loaded so far, in order."""
        return tuple(self._models)

    def get(self, name: str, load: Callable[[], Model]) -> Model:
        """Return a model, loading it the first time.

        Args:
            name: What it is, with everything that tells it from another of its kind.
            load: Called once.
        """
        if name not in self._models:
            logger.info("loading %s", name)
            self._models[name] = load()
        model: Model = self._models[name]
        return model


class Workspace:
    """Settings, artifact store, catalog and model cache of one run.

    Under `store.root` lie `artifacts/`, `catalog.duckdb`, `captions.lance/`, `shards/` and `reports/`. With a
    URL as root the artifacts and shards live there, and the rest in `data/local` beside the settings file:
    DuckDB and reports want a local disk.
    """

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet: every store is made when it is first written."""
        self.settings = settings
        root = resolve(settings.store.root, settings.base)
        local = settings.base / "data" / "local" if "://" in root else Path(root)
        self.store = ArtifactStore(f"{root}/artifacts")
        self.shards_path = f"{root}/shards"
        self.catalog = Catalog(local / "catalog.duckdb")
        self.lance_path = str(local / "captions.lance")
        self.reports_path = local / "reports"
        self.models = ModelCache()
