"""Settings that save memory or time: what they change, and what they must not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onaspr_core.backbones.offload import Turns
from onaspr_core.backbones.registry import backbone_fingerprint, load_backbone
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import BackboneSettings


def made(settings: BackboneSettings) -> Tensor:
    backbone = load_backbone(settings, Path())
    noise = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    return backbone.decode(sample_latents(backbone, noise, ["a red cat", "two dogs"], steps=4, guidance=3.0))


@pytest.mark.parametrize("change", [{"vae_slicing": True}, {"channels_last": True}])
def test_what_saves_memory_or_time_leaves_the_video_and_the_fingerprint(
    change: dict[str, Any], tiny_settings: BackboneSettings
) -> None:
    changed = tiny_settings.model_copy(update=change)
    assert torch.allclose(made(changed), made(tiny_settings), atol=1e-5)
    assert backbone_fingerprint(changed, Path()) == backbone_fingerprint(tiny_settings, Path())


def test_tiles_count_in_the_fingerprint(tiny_settings: BackboneSettings) -> None:
    changed = tiny_settings.model_copy(update={"vae_tiling": True})
    assert backbone_fingerprint(changed, Path()) != backbone_fingerprint(tiny_settings, Path())
    assert made(changed).shape == made(tiny_settings).shape


def test_the_denoiser_alone_is_compiled(
    tiny_settings: BackboneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    load_backbone(tiny_settings.model_copy(update={"compile": True}), Path())
    assert compiled == ["UNet3DConditionModel"]


class Part(nn.Module):
    """A component that notes where it is sent."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log = name, log

    def to(self, device: Any) -> "Part":  # type: ignore[override]
        self.log.append(f"{self.name} to {torch.device(device).type}")
        return self

    def forward(self, x: int) -> int:
        return x + 1


def test_one_component_is_on_the_device_at_once() -> None:
    log: list[str] = []
    turns = Turns(torch.device("meta"))
    text, unet, vae = (turns.add(Part(name, log)) for name in ("text", "unet", "vae"))
    assert log == ["text to cpu", "unet to cpu", "vae to cpu"]
    log.clear()
    # The text is known from before at the second turn: the autoencoder leaves all the same.
    assert [part(1) for part in (text, unet, unet, vae, unet)] == [2] * 5
    assert log == [
        "text to meta",
        *("text to cpu", "unet to meta"),
        *("unet to cpu", "vae to meta"),
        *("vae to cpu", "unet to meta"),
    ]
