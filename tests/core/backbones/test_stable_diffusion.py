"""Stable Diffusion 1.5 against diffusers' own pipeline."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones.base import DiffusionBackbone
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings
from tests.core.backbones.families import (
    PROMPTS,
    STEPS,
    FamilyTests,
    Pipeline,
    encoded_frames,
    loaded,
    video,
)
from tests.tiny_unets import save_tiny_stable_diffusion


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_stable_diffusion(tmp_path / "model")


@pytest.fixture
def settings(folder: Path) -> BackboneSettings:
    return BackboneSettings(
        family="stable-diffusion-1.5", path=str(folder), frames=1, height=16, width=16, device="cpu"
    )


class TestStableDiffusion(FamilyTests):
    @pytest.fixture
    def pipeline(self, folder: Path) -> Pipeline:
        made: Any = StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(folder / "vae"),
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
            # The folder's own is PNDM, which looks back at earlier steps.
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        made.set_progress_bar_config(disable=True)

        def run(z: Tensor, guidance: float, output: str) -> Tensor:
            images: Tensor = made(
                PROMPTS,
                16,
                16,
                STEPS,
                latents=z[:, :, 0],
                guidance_scale=guidance,
                output_type=output,
            ).images
            return images[:, :, None]

        return run


def test_encoding_is_the_scaled_mode_of_the_posterior(settings: BackboneSettings, folder: Path) -> None:
    backbone = loaded(settings)
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    assert vae.config.scaling_factor == 0.18215
    expected = encoded_frames(vae, video(backbone))
    assert torch.allclose(backbone.encode(video(backbone)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"addition_embed_type": "text"}, r"addition_embed_type = 'text', .* needs None; choose another"),
        ({"time_cond_proj_dim": 8}, r"time_cond_proj_dim = 8, and family stable-diffusion-1.5 needs None"),
        ({"in_channels": 9}, r"reads 9 channels and writes 4, .*choose"),
        ({"down_block_types": ["SimpleCrossAttnDownBlock2D", "DownBlock2D"]}, r"no plain cross-attention"),
    ],
)
def test_a_unet_that_reads_something_else_is_refused(
    settings: BackboneSettings, folder: Path, change: dict[str, Any], told: str
) -> None:
    config = json.loads((folder / "unet" / "config.json").read_text())
    other: Any = UNet2DConditionModel.from_config({**config, **change})
    other.save_pretrained(folder / "unet")
    with pytest.raises(UserError, match=told):
        loaded(settings)


def test_an_image_has_one_frame() -> None:
    with pytest.raises(ValueError, match=r"family stable-diffusion-1.5 makes images: set frames = 1"):
        BackboneSettings(family="stable-diffusion-1.5", path="model")


def test_half_precision_is_close(settings: BackboneSettings) -> None:
    half: DiffusionBackbone = loaded(settings.model_copy(update={"dtype": "bfloat16"}))
    full = loaded(settings)
    decoded, expected = (one.decode(one.encode(video(one))) for one in (half, full))
    assert 0 < float((decoded - expected).norm() / expected.norm()) < 0.1
