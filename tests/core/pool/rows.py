"""The rows that a source reads as, and what the manifest makes of them."""

from pathlib import Path
from typing import Any

from onaspr_core.pool.sources import SourceRow, read_source
from onaspr_core.settings import PoolSettings
from onaspr_core.workspace import Workspace


def read(base: Path, **settings: Any) -> list[SourceRow]:
    return list(read_source(PoolSettings.model_validate(settings), base))


def by_id(base: Path, **settings: Any) -> dict[str, SourceRow]:
    return {row.id: row for row in read(base, **settings)}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def statuses(workspace: Workspace) -> dict[str, tuple[str, str]]:
    """Status and reason by id."""
    rows = workspace.catalog.rows("select pair_id, status, reason from manifest")
    return {id_: (status, reason) for id_, status, reason in rows or ()}
