"""Where the files of a feature network lie: a folder, a file, a model of a hub, or a file behind a URL.

What a network is comes from `extractors`, what its files hold is read by those that load it. Imports no
torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onaspr_core.errors import UserError
from onaspr_core.evaluation.settings import NetworkSettings
from onaspr_core.folders import is_url
from onaspr_core.paths import may_be_hub_id, resolve

FILES = (".pt", ".safetensors")
"""How the name of a network in one file ends."""


def locate(told: str, network: NetworkSettings, base: Path, check: Callable[[Path], None]) -> Path:
    """Find the folder or file of a network; one of a hub or behind a URL is downloaded the first time.

    Args:
        told: What errors call the network.
        network: As the settings name it.
        base: The folder that relative paths start from.
        check: Looks at the configuration of a hub's model, before weights are downloaded.

    Returns:
        A folder or file, which may not exist.

    Raises:
        UserError: for a URL or hub id whose files cannot be had, and what `check` raises.
    """
    found = resolve(network.path, base)
    if is_url(found):
        return _downloaded(told, network)
    place = Path(found)
    if place.exists() or place.suffix in FILES or not may_be_hub_id(network.path):
        return place
    from onaspr_core.backbones.hub import snapshot
    from onaspr_core.backbones.model_files import WHOLE

    return snapshot(network.path, network.revision, {WHOLE}, {WHOLE}, half=False, check=check)


def _downloaded(told: str, network: NetworkSettings) -> Path:
    from onaspr_core.downloads import downloaded

    if network.sha256 is None:
        raise UserError(f"{told} is a URL and needs sha256 beside its path")
    return downloaded(network.path, network.sha256)
