"""Fingerprints without weights, and errors that say what to do."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.backbones.registry import backbone_fingerprint, load_backbone
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings


@pytest.fixture
def copied(tiny_model: Path, tiny_settings: BackboneSettings, tmp_path: Path) -> BackboneSettings:
    shutil.copytree(tiny_model, tmp_path / "model")
    return tiny_settings.model_copy(update={"path": str(tmp_path / "model")})


def test_the_fingerprint_of_settings_is_that_of_the_loaded_model(tiny_settings: BackboneSettings) -> None:
    assert load_backbone(tiny_settings, Path()).fingerprint == backbone_fingerprint(tiny_settings, Path())


def test_the_fingerprint_follows_content_and_not_place(
    tiny_settings: BackboneSettings, copied: BackboneSettings, tmp_path: Path
) -> None:
    original = backbone_fingerprint(tiny_settings, Path())
    assert backbone_fingerprint(copied, Path()) == original
    relative = copied.model_copy(update={"path": "model"})
    assert backbone_fingerprint(relative, tmp_path) == original
    config = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.011"))
    assert backbone_fingerprint(copied, Path()) != original


@pytest.mark.parametrize("change", [{"dtype": "float16"}, {"frames": 5}, {"height": 24}, {"width": 24}])
def test_what_changes_results_changes_the_fingerprint(
    tiny_settings: BackboneSettings, change: dict[str, Any]
) -> None:
    changed = tiny_settings.model_copy(update=change)
    assert backbone_fingerprint(changed, Path()) != backbone_fingerprint(tiny_settings, Path())


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"fps": 24.0}])
def test_what_leaves_results_alone_leaves_the_fingerprint(
    tiny_settings: BackboneSettings, change: dict[str, Any]
) -> None:
    changed = tiny_settings.model_copy(update=change)
    assert backbone_fingerprint(changed, Path()) == backbone_fingerprint(tiny_settings, Path())


def test_a_fingerprint_costs_no_import_of_torch(tiny_settings: BackboneSettings) -> None:
    code = (
        "import sys; from pathlib import Path; from onaspr_core.settings import BackboneSettings; "
        "from onaspr_core.backbones.registry import backbone_fingerprint; "
        f"settings = BackboneSettings.model_validate_json({tiny_settings.model_dump_json()!r}); "
        "backbone_fingerprint(settings, Path()); "
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("load", [backbone_fingerprint, load_backbone])
@pytest.mark.parametrize(
    "path", ["missing-folder", "/missing/folder", "./missing/folder", "models/deep/folder"]
)
def test_a_missing_folder_is_named(
    path: str, load: Any, tiny_settings: BackboneSettings, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no folder .*missing|no folder .*deep"):
        load(tiny_settings.model_copy(update={"path": path}), tmp_path)


@pytest.mark.parametrize("load", [backbone_fingerprint, load_backbone])
@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("unet/diffusion_pytorch_model.safetensors", r"no weights .*unet"),
        ("text_encoder/model.safetensors", r"no weights .*text_encoder"),
        ("vae/config.json", r"vae/config.json is missing"),
        ("scheduler/scheduler_config.json", r"scheduler_config.json is missing"),
    ],
)
def test_a_missing_file_is_named(missing: str, told: str, load: Any, copied: BackboneSettings) -> None:
    Path(copied.path, missing).unlink()
    with pytest.raises(UserError, match=told):
        load(copied, Path())


def test_damaged_weights_are_an_error_for_people(copied: BackboneSettings) -> None:
    Path(copied.path, "unet/diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_backbone(copied, Path())


def test_a_hub_that_cannot_be_reached_is_an_error_for_people(
    tiny_settings: BackboneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="nobody/has-this-model"):
        load_backbone(tiny_settings.model_copy(update={"path": "nobody/has-this-model"}), Path())


def test_another_architecture_is_told(copied: BackboneSettings) -> None:
    config = Path(copied.path, "unet/config.json")
    config.write_text(config.read_text().replace("UNet3DConditionModel", "UNet4DConditionModel"))
    with pytest.raises(UserError, match=r"unet is a UNet4DConditionModel, .* needs a UNet3DConditionModel"):
        load_backbone(copied, Path())


def test_a_device_that_is_not_there_and_a_size_that_does_not_fit_are_told(
    tiny_settings: BackboneSettings,
) -> None:
    with pytest.raises(UserError, match="device"):
        load_backbone(tiny_settings.model_copy(update={"device": "toaster"}), Path())
    with pytest.raises(UserError, match="multiples of 4"):
        load_backbone(tiny_settings.model_copy(update={"height": 18}), Path())


def test_a_prediction_type_without_a_solver_is_told(copied: BackboneSettings) -> None:
    config = Path(copied.path, "scheduler/scheduler_config.json")
    config.write_text(config.read_text().replace('"epsilon"', '"sample"'))
    with pytest.raises(UserError, match="epsilon, v_prediction, flow"):
        load_backbone(copied, Path())
