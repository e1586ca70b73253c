"""AnimateDiff against diffusers' own pipeline."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    MotionAdapter,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones.registry import backbone_fingerprint, load_backbone
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings
from tests.core.backbones.families import (
    PROMPTS,
    STEPS,
    FamilyTests,
    Pipeline,
    encoded_frames,
    generate,
    loaded,
    noise,
    video,
)
from tests.tiny_unets import save_tiny_motion_adapter, save_tiny_stable_diffusion


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_motion_adapter(tmp_path / "motion")
    return save_tiny_stable_diffusion(tmp_path / "model")


@pytest.fixture
def settings(folder: Path) -> BackboneSettings:
    return BackboneSettings(
        family="animatediff",
        path=str(folder),
        motion_adapter=str(folder.parent / "motion"),
        frames=5,
        height=16,
        width=16,
        device="cpu",
    )


class TestAnimateDiff(FamilyTests):
    @pytest.fixture
    def pipeline(self, folder: Path) -> Pipeline:
        made: Any = AnimateDiffPipeline(
            vae=AutoencoderKL.from_pretrained(folder / "vae"),
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
            motion_adapter=MotionAdapter.from_pretrained(folder.parent / "motion"),
            # The folder's own is PNDM with the image model's betas; diffusers' documentation asks for these.
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler", beta_schedule="linear"),
        )
        made.set_progress_bar_config(disable=True)

        def run(z: Tensor, guidance: float, output: str) -> Tensor:
            frames: Tensor = made(
                PROMPTS,
                num_frames=5,
                height=16,
                width=16,
                num_inference_steps=STEPS,
                latents=z,
                guidance_scale=guidance,
                output_type=output,
            ).frames
            return frames if output == "latent" else frames.transpose(1, 2)

        return run


def test_encoding_is_the_scaled_mode_of_the_posterior_of_each_frame(
    settings: BackboneSettings, folder: Path
) -> None:
    backbone = loaded(settings)
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
    expected = encoded_frames(vae, video(backbone))
    assert torch.allclose(backbone.encode(video(backbone)), expected, atol=1e-6)


def test_frames_see_each_other(settings: BackboneSettings) -> None:
    backbone = loaded(settings)
    backbone.levels(STEPS)
    z, conditioning = noise(backbone), backbone.encode_prompts(PROMPTS)
    changed = z.clone()
    changed[:, :, 4] += 1
    found = backbone.predict(changed, 5, conditioning) - backbone.predict(z, 5, conditioning)
    assert float(found[:, :, 0].abs().max()) > 1e-4


def test_the_motion_adapter_counts_by_content(settings: BackboneSettings, folder: Path) -> None:
    original = backbone_fingerprint(settings, Path())
    shutil.copytree(folder.parent / "motion", folder.parent / "copy")
    copied = settings.model_copy(update={"motion_adapter": "copy"})
    assert backbone_fingerprint(copied, folder.parent) == original
    assert load_backbone(copied, folder.parent).fingerprint == original
    save_tiny_motion_adapter(folder.parent / "copy", longest=7)
    assert backbone_fingerprint(copied, folder.parent) != original


def test_half_precision_models_have_it_throughout(settings: BackboneSettings) -> None:
    half, full = (loaded(settings.model_copy(update={"dtype": dtype})) for dtype in ("bfloat16", "float32"))
    for backbone in (half, full):
        backbone.levels(STEPS)
    z = noise(full)
    found, expected = (one.predict(z, 5, one.encode_prompts(PROMPTS)) for one in (half, full))
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.1


def test_one_frame_is_a_video_too(settings: BackboneSettings) -> None:
    backbone = loaded(settings.model_copy(update={"frames": 1}))
    assert generate(backbone, noise(backbone), PROMPTS).shape == (2, 4, 1, 4, 4)


def test_more_frames_than_the_adapter_knows_are_told(settings: BackboneSettings) -> None:
    assert loaded(settings.model_copy(update={"frames": 6})).latent_shape == (4, 6, 4, 4)
    with pytest.raises(UserError, match=r"frames = 7: the motion adapter knows at most 6; change"):
        loaded(settings.model_copy(update={"frames": 7}))


def test_an_adapter_for_another_model_is_told(settings: BackboneSettings, folder: Path) -> None:
    other: Any = MotionAdapter(
        block_out_channels=(8, 8),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
    )
    other.save_pretrained(folder.parent / "other")
    changed = settings.model_copy(update={"motion_adapter": str(folder.parent / "other")})
    with pytest.raises(UserError, match=r"(?s)motion adapter .*other' does not fit .*; name one that"):
        loaded(changed)


def test_an_image_model_without_betas_is_told(settings: BackboneSettings, folder: Path) -> None:
    scheduler: Any = FlowMatchEulerDiscreteScheduler()
    scheduler.save_pretrained(folder / "scheduler")
    with pytest.raises(UserError, match=r"has shift = 1\.0 and no beta_schedule"):
        loaded(settings)


@pytest.mark.parametrize("load", [backbone_fingerprint, load_backbone])
def test_a_folder_without_an_adapter_is_told(settings: BackboneSettings, folder: Path, load: Any) -> None:
    for place, told in (
        ("nowhere", r"backbone '.*': motion_adapter 'nowhere': there is no folder .*nowhere; put the"),
        ("model/unet", r"motion_adapter 'model/unet' is a UNet2DConditionModel, .* needs a MotionAdapter"),
        ("model", r"config.json is missing"),
        ("model/scheduler", r"config.json is missing"),
    ):
        with pytest.raises(UserError, match=told):
            load(settings.model_copy(update={"motion_adapter": place}), folder.parent)
