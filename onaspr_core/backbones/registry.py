"""From the settings of a backbone to its fingerprint, which costs no loading, and to the loaded model.

Imports no torch before a model is loaded.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from onaspr_core.artifacts import content_key
from onaspr_core.backbones.families import FAMILIES
from onaspr_core.backbones.model_files import ModelFiles, locate
from onaspr_core.batches import is_out_of_memory
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings

if TYPE_CHECKING:
    from onaspr_core.backbones.protocol import Backbone
    from onaspr_core.workspace import Workspace

TOO_LARGE = (
    'set dtype = "float16" or "bfloat16", offload = "model" or vae_tiling = true for the backbone, or a '
    "smaller video"
)
"""What helps where a backbone does not fit into a GPU's memory."""


def backbone_fingerprint(settings: BackboneSettings, base: Path) -> str:
    """Return the hash of everything that determines what a backbone computes, without loading it.

    A model counts by the content of its files. A hub's is downloaded for it, once. Where it computes does not
    count.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: for a folder or weight file that is missing, and a hub that cannot be reached or does not
            have the model.
    """
    return _fingerprint(settings, locate(settings, base))


def load_backbone(settings: BackboneSettings, base: Path) -> "Backbone":
    """Load a backbone's weights onto its device.

    Args:
        settings: The backbone's table in the settings.
        base: The folder that relative paths start from.

    Raises:
        UserError: as `backbone_fingerprint`; also for weights that do not fit the family, a device that is
            not there or too small, or a video shape that the model cannot make.
    """
    from onaspr_core.backbones.weights import Weights

    files = locate(settings, base)
    weights = Weights(files, settings, _fingerprint(settings, files))
    module = import_module(f"onaspr_core.backbones.{FAMILIES[settings.family].module}")
    try:
        backbone: Backbone = module.load(weights)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as problem:
        told = f"backbone {settings.path!r} cannot be loaded from {files.folder}: {problem}"
        if is_out_of_memory(problem):
            raise UserError(f"{told}; {TOO_LARGE}") from problem
        raise UserError(f"{told}. Give a folder that diffusers saved, or a hub id") from problem
    return backbone


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
    known = workspace.models.device(_cache_name(workspace, name))
    return known or workspace.settings.backbones[name].device


def _fingerprint(settings: BackboneSettings, files: ModelFiles) -> str:
    return content_key(
        "backbone",
        family=settings.family,
        dtype=settings.dtype,
        video=(settings.frames, settings.height, settings.width),
        **files.fingerprints(),
        # Only where they are not as they always were: another key would make every item anew.
        **({"vae_tiling": True} if settings.vae_tiling else {}),
    )


def _cache_name(workspace: "Workspace", name: str) -> str:
    settings = workspace.settings.backbones[name]
    return f"backbone {name} ({settings.path}, {settings.dtype})"
