"""The files of a backbone: where they lie, that they are all there, and that they are of its family.

What does not belong here: which they are (`families`), downloading them (`hub`), and loading them
(`weights`). Imports no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from onaspr_core.backbones.families import FAMILIES, Classes
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, may_be_hub_id, resolve
from onaspr_core.settings import BackboneSettings

WHOLE = "."
"""The name of a component that is a folder by itself, in no model's, and of a model without components."""


class ModelFiles(NamedTuple):
    """The model's folder, and those of the components that lie outside of it, by name."""

    folder: Path
    elsewhere: Mapping[str, Path]

    def fingerprints(self) -> dict[str, str]:
        """Return the hash of each folder's files; that of the model's own is called `model`."""
        folders = {"model": self.folder, **self.elsewhere}
        return {name: folder_fingerprint(folder) for name, folder in folders.items()}


def locate(settings: BackboneSettings, base: Path) -> ModelFiles:
    """Find a model's files; a hub's are downloaded the first time.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: when a folder or file is missing or of another family, and for a hub that cannot be
            reached or does not have the model.
    """
    family = FAMILIES[settings.family]
    told, half = f"backbone {settings.path!r}", settings.dtype == "float16"
    own = _Named(told, settings.family, settings.path, settings.revision, half, family.models, family.files)
    folder = _found(own, base)
    elsewhere = {}
    for name, classes in family.elsewhere.items():
        path, revision = getattr(settings, name), getattr(settings, f"{name}_revision")
        part = _Named(
            f"{told}: {name} {path!r}", settings.family, path, revision, half, {WHOLE: classes}, files=()
        )
        elsewhere[name] = _found(part, base)
    return ModelFiles(folder, elsewhere)


def is_half(name: str) -> bool:
    """Say whether a weight file is of half precision by its name, also as one of several."""
    return ".fp16." in name or ".fp16-" in name


def component(told: str, model: str) -> str:
    """Return what errors call a component of what they call `told`."""
    return told if model == WHOLE else f"{told}: {model}"


class _Named(NamedTuple):
    """A folder or hub id as the settings name it: what errors call it, and what it must hold."""

    told: str
    family: str
    path: str
    revision: str
    half: bool
    models: Mapping[str, Classes]
    files: tuple[str, ...]


def _found(named: _Named, base: Path) -> Path:
    """Return the folder, whole and of its family."""
    folder = Path(resolve(named.path, base))
    if not folder.is_dir():
        if not may_be_hub_id(named.path):
            raise UserError(f"{named.told}: there is no folder {folder}; put the model's files there")
        folder = _of_hub(named)
    _check_configurations(folder, named)
    for model in named.models:
        _check_weights(folder / model, named.told)
    return folder


def _of_hub(named: _Named) -> Path:
    from onaspr_core.backbones.hub import snapshot

    folders = {*named.models, *(PurePosixPath(name).parent.as_posix() for name in named.files)}
    return snapshot(
        named.path,
        named.revision,
        folders,
        named.models,
        half=named.half,
        check=lambda folder: _check_configurations(folder, named),
    )


def _check_configurations(folder: Path, named: _Named) -> None:
    for model, classes in named.models.items():
        _check_file(folder / model / "config.json", named.told)
        _check_class(folder / model, named, model, classes)
    for name in named.files:
        _check_file(folder / name, named.told)


def _check_file(file: Path, told: str) -> None:
    if not file.is_file():
        raise UserError(f"{told}: {file} is missing; is it a model of another family? else download it again")


def _check_weights(folder: Path, told: str) -> None:
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{told}: no weights (*.safetensors) in {folder}; download them again, or convert .bin files "
            "with diffusers (pickles are not read)"
        )


def _check_class(folder: Path, named: _Named, model: str, classes: Classes) -> None:
    found = _class_of(folder / "config.json")
    if found in (None, *classes):
        return
    others = [name for name, one in FAMILIES.items() if found in one.models.get(model, ())]
    known = f"families with one: {', '.join(others)}" if others else "no family has one"
    raise UserError(
        f"{component(named.told, model)} is a {found}, and family {named.family} needs a "
        f"{' or '.join(classes)}; {known}"
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
