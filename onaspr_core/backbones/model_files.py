"""The files of a backbone: where they lie, that they are all there, and that they are of its family.

What does not belong here: which they are (`families`), downloading them (`hub`), and loading them
(`weights`). Imports no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from onaspr_core.backbones.families import FAMILIES, Classes, Family
from onaspr_core.errors import UserError
from onaspr_core.paths import folder_fingerprint, resolve
from onaspr_core.settings import BackboneSettings


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
    told = f"backbone {settings.path!r}"
    folder = Path(resolve(settings.path, base))
    if not folder.is_dir():
        if not _may_be_hub_id(settings.path):
            raise UserError(f"{told}: there is no folder {folder}; put the model's files there")
        folder = _of_hub(settings, family)
    _check(folder, settings, family)
    elsewhere = {name: Path(resolve(str(getattr(settings, name)), base)) for name in family.elsewhere}
    for name, place in elsewhere.items():
        named = f"{told}: {name} {getattr(settings, name)!r}"
        if not place.is_dir():
            raise UserError(f"{named}: there is no folder {place}; download it, and name its folder")
        _check_file(place / "config.json", named)
        _check_class(place, named, settings.family, name, family.elsewhere[name])
        _check_weights(place, named)
    return ModelFiles(folder, elsewhere)


def is_half(name: str) -> bool:
    """Say whether a weight file is of half precision by its name, also as one of several."""
    return ".fp16." in name or ".fp16-" in name


def _of_hub(settings: BackboneSettings, family: Family) -> Path:
    from onaspr_core.backbones.hub import snapshot

    folders = {*family.models, *(PurePosixPath(name).parent.as_posix() for name in family.files)}
    return snapshot(
        settings.path, settings, folders, family.models, lambda f: _check_configurations(f, settings, family)
    )


def _check(folder: Path, settings: BackboneSettings, family: Family) -> None:
    _check_configurations(folder, settings, family)
    for model in family.models:
        _check_weights(folder / model, f"backbone {settings.path!r}")


def _check_configurations(folder: Path, settings: BackboneSettings, family: Family) -> None:
    told = f"backbone {settings.path!r}"
    for model, classes in family.models.items():
        _check_file(folder / model / "config.json", told)
        _check_class(folder / model, told, settings.family, model, classes)
    for name in family.files:
        _check_file(folder / name, told)


def _check_file(file: Path, told: str) -> None:
    if not file.is_file():
        raise UserError(f"{told}: {file} is missing; is it a model of another family? else download it again")


def _check_weights(folder: Path, told: str) -> None:
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{told}: no weights (*.safetensors) in {folder}; download them again, or convert .bin files "
            "with diffusers (pickles are not read)"
        )


def _check_class(folder: Path, told: str, family: str, model: str, classes: Classes) -> None:
    found = _class_of(folder / "config.json")
    if found in (None, *classes):
        return
    others = [name for name, one in FAMILIES.items() if found in one.models.get(model, ())]
    known = f"families with one: {', '.join(others)}" if others else "no family has one"
    raise UserError(
        f"{told}: {model} is a {found}, and family {family} needs a {' or '.join(classes)}; {known}"
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


def _may_be_hub_id(path: str) -> bool:
    owner, slash, name = path.partition("/")
    return (
        bool(owner and slash and name)
        and "/" not in name
        and ":" not in path
        and not owner.startswith((".", "~"))
    )
