"""SDXL against diffusers' own pipeline."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings
from tests.core.backbones.families import (
    PROMPTS,
    STEPS,
    FamilyTests,
    Pipeline,
    encoded_frames,
    loaded,
    noise,
    video,
)
from tests.tiny_unets import save_tiny_sdxl


@pytest.fixture(params=[True, False], ids=["zeros", "empty text"])
def zeros(request: pytest.FixtureRequest) -> bool:
    """Whether the empty text is zeros."""
    told: bool = request.param
    return told


@pytest.fixture
def folder(tmp_path: Path, zeros: bool) -> Path:
    return save_tiny_sdxl(tmp_path / "model", zeros_for_empty=zeros)


@pytest.fixture
def settings(folder: Path) -> BackboneSettings:
    return BackboneSettings(family="sdxl", path=str(folder), frames=1, height=16, width=24, device="cpu")


class TestSDXL(FamilyTests):
    names = frozenset({"states", "pooled"})

    @pytest.fixture
    def pipeline(self, folder: Path, zeros: bool) -> Pipeline:
        made: Any = StableDiffusionXLPipeline(
            vae=AutoencoderKL.from_pretrained(folder / "vae"),
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
            text_encoder_2=CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2"),
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
            unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
            # The folder's own is Euler: the same steps, but its last goes to no noise at all.
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
            force_zeros_for_empty_prompt=zeros,
            add_watermarker=False,
        )
        made.set_progress_bar_config(disable=True)

        def run(z: Tensor, guidance: float, output: str) -> Tensor:
            images: Tensor = made(
                PROMPTS,
                height=16,
                width=24,
                num_inference_steps=STEPS,
                latents=z[:, :, 0],
                guidance_scale=guidance,
                output_type=output,
            ).images
            return images[:, :, None]

        return run


def test_the_empty_text_is_zeros_where_the_model_says_so(settings: BackboneSettings, zeros: bool) -> None:
    backbone = loaded(settings)
    told = backbone.encode_prompts(["", "a cat"])
    for name, shape in (("states", (2, 12, 40)), ("pooled", (2, 20))):
        assert told.prompts[name].shape == shape
        assert bool((told.prompts[name][0] == 0).all()) == zeros
        assert bool((told.prompts[name][1] != 0).all())
        assert torch.equal(told.guided[name][0], told.prompts[name][0])


def test_models_that_do_not_say_were_trained_with_zeros(settings: BackboneSettings, folder: Path) -> None:
    (folder / "model_index.json").write_text("{}")
    assert not loaded(settings).encode_prompts([""]).prompts["pooled"].any()


def test_the_model_is_told_the_size_of_the_image(settings: BackboneSettings) -> None:
    wide, tall = loaded(settings), loaded(settings.model_copy(update={"height": 24, "width": 16}))
    z = noise(wide)
    found = []
    for backbone in (wide, tall):
        backbone.levels(STEPS)
        found.append(backbone.predict(z, 5, backbone.encode_prompts(PROMPTS)))
    assert float((found[0] - found[1]).abs().max()) > 1e-4


def test_the_autoencoder_stays_in_float32(settings: BackboneSettings, folder: Path) -> None:
    half = loaded(settings.model_copy(update={"dtype": "float16"}))
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    assert vae.config.scaling_factor == 0.13025
    assert torch.allclose(half.encode(video(half)), encoded_frames(vae, video(half)), atol=1e-6)


def test_what_is_missing_and_what_is_another_family_is_told(settings: BackboneSettings, folder: Path) -> None:
    with pytest.raises(UserError, match=r"addition_embed_type = 'text_time', .* needs None; choose another"):
        loaded(settings.model_copy(update={"family": "stable-diffusion-1.5"}))
    (folder / "model_index.json").rename(folder / "aside.json")
    with pytest.raises(UserError, match=r"model_index.json is missing"):
        loaded(settings)
    (folder / "aside.json").rename(folder / "model_index.json")
    shutil.rmtree(folder / "text_encoder_2")
    shutil.copytree(folder / "text_encoder", folder / "text_encoder_2")
    with pytest.raises(UserError, match=r"text_encoder_2 is a CLIPTextModel, .* CLIPTextModelWithProjection"):
        loaded(settings)


def test_latents_scaled_channel_by_channel_are_refused(settings: BackboneSettings, folder: Path) -> None:
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    vae.register_to_config(latents_mean=[0.0] * 4, latents_std=[1.0] * 4)
    vae.save_pretrained(folder / "vae")
    with pytest.raises(UserError, match=r"channel by channel .*; choose another model"):
        loaded(settings)
