"""Settings that save memory or time: what they change, and what they must not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
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


def test_tiles_count_in_the_fingerprint_and_slices_do_not(
    tiny_settings: BackboneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("enable_tiling", "enable_slicing"):
        monkeypatch.setattr(AutoencoderKL, name, lambda vae, name=name: asked.append(name))
    plain = backbone_fingerprint(tiny_settings, Path())
    for change, moves in (({"vae_tiling": True}, True), ({"vae_slicing": True}, False)):
        changed = tiny_settings.model_copy(update=change)
        assert (load_backbone(changed, Path()).fingerprint != plain) == moves
    assert asked == ["enable_tiling", "enable_slicing"]


def test_components_take_turns_while_a_video_is_made(
    tiny_settings: BackboneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    take = Turns.take

    def noted(turns: Turns, module: nn.Module) -> None:
        name = type(module).__name__
        if not order or order[-1] != name:
            order.append(name)
        take(turns, module)

    monkeypatch.setattr(Turns, "take", noted)
    offloaded = tiny_settings.model_copy(update={"offload": "model"})
    backbone = load_backbone(offloaded, Path())
    backbone.encode(torch.zeros(1, 3, *backbone.video_shape))
    assert torch.equal(made(offloaded), made(tiny_settings))
    turns = ["CLIPTextModel", "UNet3DConditionModel", "AutoencoderKL"]
    assert order == ["AutoencoderKL", *turns]


def test_a_compiled_denoiser_gives_the_same_video(
    tiny_settings: BackboneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    compile_ = nn.Module.compile

    def traced(module: nn.Module) -> None:
        # The graph is traced as ever, and run without a C++ compiler.
        compiled.append(type(module).__name__)
        compile_(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", traced)
    video = made(tiny_settings.model_copy(update={"compile": True}))
    assert compiled == ["UNet3DConditionModel"]
    assert torch.allclose(video, made(tiny_settings), atol=1e-5)


class Part(nn.Module):
    """A component that notes where it is sent."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log, self.room = name, log, 1

    def to(self, device: Any) -> "Part":  # type: ignore[override]
        self.log.append(f"{self.name} to {torch.device(device).type}")
        if torch.device(device).type != "cpu" and not self.room:
            raise torch.OutOfMemoryError
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


def test_a_component_that_does_not_fit_leaves_the_device() -> None:
    log: list[str] = []
    turns = Turns(torch.device("meta"))
    large, small = turns.add(Part("large", log)), turns.add(Part("small", log))
    log.clear()
    large.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        large(1)
    assert small(1) == 2
    assert log == ["large to meta", "large to cpu", "small to meta"]
