"""Stored arrays, read to the last byte: are they there, undamaged and finite?"""

from collections.abc import Sequence

from onaspr_core.errors import UserError
from onaspr_core.workspace import Workspace


def troubles(
    workspace: Workspace, kind: str, items: Sequence[tuple[str, str]], asset: str
) -> list[tuple[str, str]]:
    """Return name and trouble of the items that are missing, damaged or not finite.

    Args:
        workspace: Where they are stored.
        kind: What they are in the store.
        items: Name for people and content key of each.
        asset: The one that makes them.
    """
    present = workspace.store.existing(kind, [key for _, key in items])
    found = []
    for name, key in items:
        trouble = f"not there; {asset} says under `failures` why"
        if key in present:
            trouble = _trouble(workspace, kind, key)
        if trouble:
            found.append((name, trouble))
    return found


def _trouble(workspace: Workspace, kind: str, key: str) -> str:
    try:
        workspace.store.read_tensors(kind, key)
    except UserError as problem:
        return str(problem)
    return ""
