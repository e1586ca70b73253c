"""What a small project holds, byte for byte, and whether any file of it is half-written."""

import hashlib
from pathlib import Path

from onaspr_core.artifacts import RECORD_SUFFIX
from onaspr_core.pool.clips import clip_bytes
from onaspr_core.sealing import unsealed
from onaspr_core.settings import load_settings
from onaspr_core.whole_files import PARTIAL
from onaspr_core.workspace import Workspace

TABLES = ("manifest", "prompts", "neighbours", "scores")


def kept(folder: Path) -> dict[str, object]:
    """Items by kind and key with their hash, clips, and the catalog's rows, wherever the folder is."""
    workspace = Workspace(load_settings(folder / "settings.toml"))
    found: dict[str, object] = {}
    for kind in workspace.store.kinds():
        for key in workspace.store.keys(kind):
            found[f"{kind} {key}"] = hashlib.sha256(workspace.store.read(kind, key)).hexdigest()
    ready = workspace.catalog.rows("select key from clips where status = 'ready'") or []
    found |= {f"clip {key}": clip_bytes(workspace, key) for (key,) in ready}
    for table in TABLES:
        rows = workspace.catalog.rows(f"select * from {table}")
        assert rows, table
        found[table] = sorted(repr(row).replace(str(folder), "FOLDER") for row in rows)
    return found


class Watch:
    """Looks at the files of a store as they appear; each is whole or under another name."""

    def __init__(self, folder: Path) -> None:
        self._store = folder / "store"
        self._seen: set[tuple[Path, int]] = set()
        self.partials = 0

    def look(self) -> None:
        """Read the files that are new since the last look."""
        for path in [*self._store.glob("artifacts/*/*/*"), *self._store.glob("shards/*")]:
            self.partials += path.name.endswith(PARTIAL)
            try:
                moment = path.stat().st_mtime_ns
                if (path, moment) in self._seen or path.name.endswith(PARTIAL):
                    continue
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            self._seen.add((path, moment))
            assert _whole(path, data), f"{path} is half-written"


def _whole(path: Path, data: bytes) -> bool:
    if path.name.endswith(RECORD_SUFFIX):
        return unsealed(data) is not None
    digest = path.name.partition("-")[2].partition(".")[0]
    return bool(digest) and hashlib.sha256(data).hexdigest().startswith(digest)
