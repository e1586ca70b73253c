"""From the settings of a backbone to its fingerprint, which costs no weights, and to the loaded model.

Knows where the files of a family must lie, not what is in them. Imports no torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, resolve
from onaspr_core.settings import BackboneSettings

if TYPE_CHECKING:
    from onaspr_core.backbones.protocol import Backbone
    from onaspr_core.workspace import Workspace


class _Family(NamedTuple):
    models: tuple[str, ...]
    files: tuple[str, ...]


_FAMILIES: Mapping[str, _Family] = {
    "modelscope": _Family(
        models=("unet", "vae", "text_encoder"),
        files=("tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"),
    )
}


def backbone_fingerprint(settings: BackboneSettings, base: Path) -> str:
    """Return the hash of everything that determines what a backbone computes, without loading it.

    A local folder counts by the content of its files, a hub id by its name. The device does not count.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: for an unknown family, and for a folder or weight file that is missing.
    """
    location = _location(settings, base)
    return content_key(
        "backbone",
        family=settings.family,
        model=folder_fingerprint(location) if Path(location).is_dir() else location,
        dtype=settings.dtype,
        video=(settings.frames, settings.height, settings.width),
    )


def load_backbone(settings: BackboneSettings, base: Path) -> "Backbone":
    """Load a backbone's weights onto its device.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: as `backbone_fingerprint`; also for weights that do not fit the family, a hub that cannot
            be reached, a device that is not there, or a video shape that the model cannot make.
    """
    from onaspr_core.backbones import unet3d

    location, fingerprint = _location(settings, base), backbone_fingerprint(settings, base)
    return unet3d.load(location, settings, fingerprint)


def open_backbone(workspace: "Workspace", name: str) -> "Backbone":
    """Return a backbone of the settings, loaded once per run.

    Raises:
        UserError: as `load_backbone`.
    """
    settings = workspace.settings.backbones[name]
    return workspace.models.get(
        _cache_name(workspace, name), lambda: load_backbone(settings, workspace.settings.base)
    )


def device_in_use(workspace: "Workspace", name: str) -> str:
    """Return the device that a loaded backbone is on, or else what its settings ask for; loads nothing."""
    if _cache_name(workspace, name) in workspace.models.loaded:
        return open_backbone(workspace, name).device
    return workspace.settings.backbones[name].device


def _cache_name(workspace: "Workspace", name: str) -> str:
    settings = workspace.settings.backbones[name]
    return f"backbone {name} ({settings.path}, {settings.dtype})"


def _location(settings: BackboneSettings, base: Path) -> str:
    """Return the model's folder, complete as far as can be seen, or its hub id."""
    if settings.family not in _FAMILIES:
        raise UserError(f"unknown backbone family {settings.family!r}; known: {', '.join(_FAMILIES)}")
    folder = Path(resolve(settings.path, base))
    if not folder.is_dir():
        if _may_be_hub_id(settings.path):
            return settings.path
        raise UserError(
            f"backbone {settings.path!r}: there is no folder {folder}; put the model's files there"
        )
    family = _FAMILIES[settings.family]
    for name in (*(f"{model}/config.json" for model in family.models), *family.files):
        if not (folder / name).is_file():
            raise UserError(
                f"backbone {settings.path!r}: {folder / name} is missing; download the model again"
            )
    for model in family.models:
        if not any((folder / model).glob("*.safetensors")):
            raise UserError(
                f"backbone {settings.path!r}: no weights (*.safetensors) in {folder / model}; download them "
                "again, or convert .bin files with diffusers (pickles are not read)"
            )
    return str(folder)


def _may_be_hub_id(path: str) -> bool:
    owner, slash, name = path.partition("/")
    return (
        bool(owner and slash and name)
        and "/" not in name
        and ":" not in path
        and not owner.startswith((".", "~"))
    )
