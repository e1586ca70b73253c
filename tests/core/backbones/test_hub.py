"""Models of a hub: a server on this machine answers as the hub does."""

from pathlib import Path
from typing import Any

import pytest

from onaspr_core.backbones.registry import backbone_fingerprint
from onaspr_core.settings import BackboneSettings
from tests.loopback import COMMIT, Hub
from tests.processes import run_with_hub
from tests.tiny_unets import save_tiny_motion_adapter, save_tiny_stable_diffusion

SCRIPT = """
import json, sys
from pathlib import Path
from onaspr_core.backbones.registry import backbone_fingerprint, load_backbone
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings
for line in sys.stdin:
    settings = BackboneSettings.model_validate_json(line)
    try:
        loaded = load_backbone(settings, Path())
        print(json.dumps([backbone_fingerprint(settings, Path()), loaded.fingerprint]))
    except UserError as problem:
        print(json.dumps(f"{type(problem).__name__}: {problem}"))
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ask(endpoint: str, home: Path, asked: list[BackboneSettings]) -> list[Any]:
    return run_with_hub(SCRIPT, endpoint, home, (settings.model_dump_json() for settings in asked))


@pytest.fixture
def whole(hub: tuple[Hub, str], tiny_model: Path) -> dict[str, bytes]:
    """A model on the hub, with much else that nobody needs; returns what is needed of it."""
    files = files_of(tiny_model)
    weights = [name for name in files if name.endswith(".safetensors")]
    halves = {name.replace(".safetensors", ".fp16.safetensors"): files[name] for name in weights}
    others = {"unet/diffusion_pytorch_model.bin": b"pickle", "README.md": b"card", "sample.mp4": b"video"}
    hub[0].files["owner/whole"] = {**files, **halves, **others}
    return files


def test_what_is_needed_of_a_hubs_model_is_downloaded_once_and_counts_by_its_content(
    hub: tuple[Hub, str], whole: dict[str, bytes], tiny_settings: BackboneSettings, tmp_path: Path
) -> None:
    served, endpoint = hub
    of_hub = tiny_settings.model_copy(update={"path": "owner/whole"})
    expected = backbone_fingerprint(tiny_settings, Path())
    assert ask(endpoint, tmp_path / "home", [of_hub, of_hub]) == [[expected] * 2] * 2
    assert sorted(served.fetched) == sorted(f"owner/whole/{name}" for name in whole)
    # Other files in the hub's cache, as other programs put them there, change nothing; nor does a new state
    # of the branch, nor a hub that is away.
    served.files["owner/whole"]["vae/config.json"] = b"{}"
    half = of_hub.model_copy(update={"dtype": "float16"})
    assert ask(endpoint, tmp_path / "home", [half])[0] != [expected] * 2
    assert ask("http://127.0.0.1:9", tmp_path / "home", [of_hub]) == [[expected] * 2]


def test_what_a_hub_does_not_give_is_told(
    hub: tuple[Hub, str], whole: dict[str, bytes], tiny_settings: BackboneSettings, tmp_path: Path
) -> None:
    served, endpoint = hub
    served.files["owner/pickled"] = {
        name.replace(".safetensors", ".bin"): data for name, data in whole.items()
    }
    served.files["owner/other"] = {name: data for name, data in whole.items() if "unet" not in name}
    served.refused |= {"owner/gated": (403, "GatedRepo"), "owner/odd": (418, "")}
    names = ("gone", "gated", "pickled", "other", "odd")
    asked = [tiny_settings.model_copy(update={"path": f"owner/{name}"}) for name in names]
    asked.append(tiny_settings.model_copy(update={"path": "owner/whole", "revision": "v9"}))
    told = dict(zip((*names, "revision"), ask(endpoint, tmp_path / "home", asked), strict=True))
    assert "no such model" in told["gone"] and "correct the id" in told["gone"]
    assert "consent to a licence" in told["gated"] and "HF_TOKEN" in told["gated"]
    assert "only pickles (" in told["pickled"] and "save_pretrained" in told["pickled"]
    assert "unet/config.json is missing; is it a model of another family?" in told["other"]
    assert told["odd"].startswith("PassingError") and "name its folder" in told["odd"]
    assert "no revision 'v9'" in told["revision"]
    assert not [name for name in served.fetched if "owner/other" in name and name.endswith(".safetensors")]


@pytest.fixture
def moving(tmp_path: Path) -> BackboneSettings:
    """An AnimateDiff of two folders."""
    return BackboneSettings(
        family="animatediff",
        path=str(save_tiny_stable_diffusion(tmp_path / "model")),
        motion_adapter=str(save_tiny_motion_adapter(tmp_path / "motion")),
        frames=5,
        height=16,
        width=16,
        device="cpu",
    )


def test_a_motion_adapter_is_downloaded_once_and_counts_by_its_content_at_its_own_revision(
    hub: tuple[Hub, str], moving: BackboneSettings, tmp_path: Path
) -> None:
    served, endpoint = hub
    [weights] = (tmp_path / "motion").glob("*.safetensors")
    files, half = files_of(tmp_path / "motion"), weights.name.replace(".safe", ".fp16.safe")
    others = {half: b"half", "mm.ckpt": b"pickle", "README.md": b"card", "unet/config.json": b"{}"}
    served.files["owner/motion"] = {**files, **others}
    of_hub = moving.model_copy(
        update={"motion_adapter": "owner/motion", "motion_adapter_revision": COMMIT, "revision": "unused"}
    )
    expected = backbone_fingerprint(moving, Path())
    assert ask(endpoint, tmp_path / "home", [of_hub, of_hub]) == [[expected] * 2] * 2
    assert sorted(served.fetched) == sorted(f"owner/motion/{name}" for name in files)
    assert ask("http://127.0.0.1:9", tmp_path / "home", [of_hub]) == [[expected] * 2]


def test_what_a_hub_does_not_give_of_a_motion_adapter_is_told(
    hub: tuple[Hub, str], moving: BackboneSettings, tmp_path: Path
) -> None:
    served, endpoint = hub
    files = files_of(tmp_path / "motion")
    served.files["owner/motion"] = files
    served.files["owner/pickled"] = {n.replace(".safetensors", ".bin"): data for n, data in files.items()}
    served.files["owner/other"] = files_of(tmp_path / "model" / "unet")
    served.files["owner/whole"] = files_of(tmp_path / "model")
    served.refused |= {"owner/gated": (403, "GatedRepo"), "owner/odd": (418, "")}
    names = ("gone", "gated", "pickled", "other", "whole", "odd")
    asked = [moving.model_copy(update={"motion_adapter": f"owner/{name}"}) for name in names]
    late = {"motion_adapter": "owner/motion", "motion_adapter_revision": "v9"}
    asked.append(moving.model_copy(update=late))
    told = dict(zip((*names, "revision"), ask(endpoint, tmp_path / "home", asked), strict=True))
    assert "model 'owner/gone': the hub has no such model" in told["gone"]
    assert "consent to a licence" in told["gated"]
    assert "model 'owner/pickled' holds only pickles (diffusion_pytorch_model.bin)" in told["pickled"]
    assert "motion_adapter 'owner/other' is a UNet2DConditionModel" in told["other"]
    assert "motion_adapter 'owner/whole': " in told["whole"] and "config.json is missing" in told["whole"]
    assert told["odd"].startswith("PassingError") and "name its folder" in told["odd"]
    assert "model 'owner/motion': the hub has no revision 'v9'" in told["revision"]
    assert not [name for name in served.fetched if name.endswith(".safetensors")]
