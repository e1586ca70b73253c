"""The family that backbones/README.md adds by example, loaded and asked as any other."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from onaspr_core.backbones import families, model_files, registry
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.sampling import invert_latents, sample_latents
from onaspr_core.settings import BackboneSettings

PAGE = Path(registry.__file__).with_name("README.md")


@pytest.fixture
def pixels(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackboneSettings:
    """Add the page's family, and save a tiny model of it."""
    family, row = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("onaspr_core.backbones.pixels")
    exec(compile(family, "pixels.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = dict(families.FAMILIES)
    exec(compile(row, "families.py", "exec"), {**vars(families), "FAMILIES": known})
    for room in (model_files, registry):
        monkeypatch.setattr(room, "FAMILIES", known)
    for name in ("text_encoder", "tokenizer", "scheduler"):
        (tmp_path / name).symlink_to(tiny_model / name)
    torch.manual_seed(0)
    unet: Any = UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    unet.save_pretrained(tmp_path / "unet")
    return BackboneSettings.model_construct(
        **BackboneSettings(family="modelscope", path=str(tmp_path), frames=1, height=8, width=8).model_dump(
            exclude={"family"}
        ),
        family="pixels",
    )


def test_the_family_of_the_page_steps_as_diffusers_does(pixels: BackboneSettings) -> None:
    backbone = load_backbone(pixels, Path())
    noise = torch.randn(1, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    ours = sample_latents(backbone, noise, ["a red cat"], steps=10, guidance=None)
    unet: Any = UNet2DConditionModel.from_pretrained(pixels.path, subfolder="unet")
    scheduler: Any = DDIMScheduler.from_pretrained(pixels.path, subfolder="scheduler")
    scheduler.set_timesteps(10)
    states = backbone.encode_prompts(["a red cat"]).prompts["states"]
    z = noise[:, :, 0]
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            predicted = unet(z, timestep, encoder_hidden_states=states).sample
            z = scheduler.step(predicted, timestep, z).prev_sample
    assert float((ours[:, :, 0] - z).abs().max()) <= 1e-5 * float(z.abs().max())


def test_the_family_of_the_page_is_inverted(pixels: BackboneSettings) -> None:
    backbone = load_backbone(pixels, Path())
    clean = backbone.encode(torch.rand(1, 3, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    errors = []
    for iterations in (0, 10):
        noise = invert_latents(backbone, clean, steps=50, fixed_point_iterations=iterations)
        back = sample_latents(backbone, noise, [""], steps=50, guidance=None)
        errors.append(float((back - clean).norm() / clean.norm()))
    assert errors[1] <= min(1e-4, errors[0] / 100), errors
