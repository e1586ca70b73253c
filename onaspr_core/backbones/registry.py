"""From the settings of a backbone to its fingerprint, which costs no weights, and to the loaded model.

Knows where the files of a family must lie, not what is in them. Imports no torch.
"""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from onaspr_core.artifacts import content_key
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, resolve
from onaspr_core.settings import BackboneSettings

if TYPE_CHECKING:
    from onaspr_core.backbones.protocol import Backbone
    from onaspr_core.workspace import Workspace


class Family(NamedTuple):
    """What a family's folder holds, and who loads it.

    `module` is a file of this room with a function `load(weights) -> Backbone`. `models` tells of each
    component with weights which class it must be, or which of several, by the name that its config.json
    gives it.
    """

    module: str
    models: Mapping[str, str | tuple[str, ...]]
    files: tuple[str, ...]

    def classes(self, model: str) -> tuple[str, ...]:
        """Return the classes that a component may be of; none where the family has no such component."""
        told = self.models.get(model, ())
        return (told,) if isinstance(told, str) else told


_SCHEDULER = "scheduler/scheduler_config.json"
_TOKENIZER = "tokenizer/tokenizer_config.json"

FAMILIES: Mapping[str, Family] = {
    "modelscope": Family(
        module="unet3d",
        models={"unet": "UNet3DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"},
        files=(_TOKENIZER, _SCHEDULER),
    ),
    "scvideo": Family(
        module="scvideo",
        models={
            "unet": ("UNet2DConditionModel", "SCVideoUNet"),
            "vae": "AutoencoderKL",
            "text_encoder": "CLIPTextModel",
        },
        files=(_TOKENIZER, _SCHEDULER),
    ),
}


def backbone_fingerprint(settings: BackboneSettings, base: Path) -> str:
    """Return the hash of everything that determines what a backbone computes, without loading it.

    A model counts by the content of its files. A hub's is downloaded for it, once. Where it computes does not
    count, nor how its memory is saved.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: for a folder or weight file that is missing, and a hub that cannot be reached or does not
            have the model.
    """
    return _fingerprint(settings, base, _folder(settings, base))


def load_backbone(settings: BackboneSettings, base: Path) -> "Backbone":
    """Load a backbone's weights onto its device.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: as `backbone_fingerprint`; also for weights that do not fit the family, a device that is
            not there, or a video shape that the model cannot make.
    """
    from onaspr_core.backbones.weights import Weights

    folder = _folder(settings, base)
    weights = Weights(folder, settings, _fingerprint(settings, base, folder))
    module = import_module(f"onaspr_core.backbones.{FAMILIES[settings.family].module}")
    try:
        backbone: Backbone = module.load(weights)
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        raise UserError(
            f"backbone {settings.path!r} cannot be loaded from {folder}: {problem}. Give a folder that "
            "diffusers saved, or a hub id"
        ) from problem
    return backbone


def _fingerprint(settings: BackboneSettings, base: Path, folder: Path) -> str:
    return content_key(
        "backbone",
        family=settings.family,
        model=folder_fingerprint(folder),
        dtype=settings.dtype,
        video=(settings.frames, settings.height, settings.width),
    )


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


def _folder(settings: BackboneSettings, base: Path) -> Path:
    """Return the model's folder, complete as far as can be seen; a hub's is downloaded where it is lacking.

    Raises:
        UserError: when there is none, or when something in it is missing or of another family.
    """
    family = FAMILIES[settings.family]
    folder = Path(resolve(settings.path, base))
    if folder.is_dir():
        _check(folder, settings, family)
        return folder
    if not _may_be_hub_id(settings.path):
        raise UserError(
            f"backbone {settings.path!r}: there is no folder {folder}; put the model's files there"
        )
    from onaspr_core.backbones.hub import snapshot

    folder = snapshot(settings, family.models, family.files)
    _check(folder, settings, family)
    return folder


def _check(folder: Path, settings: BackboneSettings, family: Family) -> None:
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
        found, allowed = _class_of(folder / model / "config.json"), family.classes(model)
        if found not in (None, *allowed):
            raise UserError(
                f"backbone {settings.path!r}: {model} is a {found}, and family {settings.family} needs a "
                f"{' or '.join(allowed)}; {_other_families(model, found)}"
            )


def _class_of(config: Path) -> str | None:
    """The class that a component was saved as; None where its configuration does not say."""
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise UserError(f"{config} is no JSON: {problem}; download the model again") from problem
    architectures = told.get("architectures") or [None]
    found = told.get("_class_name") or architectures[0]
    return None if found is None else str(found)


def _other_families(model: str, found: str | None) -> str:
    names = [name for name, family in FAMILIES.items() if found in family.classes(model)]
    return f"families with one: {', '.join(names)}" if names else "no family has one"


def _may_be_hub_id(path: str) -> bool:
    owner, slash, name = path.partition("/")
    return (
        bool(owner and slash and name)
        and "/" not in name
        and ":" not in path
        and not owner.startswith((".", "~"))
    )
