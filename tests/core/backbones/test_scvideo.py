"""The SCVideo family against diffusers' own Stable Diffusion."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones.base import TextConditioning
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.diffusion.solvers import denoise, invert
from onaspr_core.errors import UserError
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import BackboneSettings
from tests.core.backbones.families import noise
from tests.tiny_scvideo import save_tiny_image_model, save_tiny_scvideo

PROMPTS = ["a red cat", "two dogs"]
REWRITTEN = ["a red cat on a mat", "two brown dogs"]
GUIDANCE = 7.5
FRAMES = 3


@pytest.fixture(scope="session")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_image_model(tmp_path_factory.mktemp("tiny-sd"))


@pytest.fixture(scope="session")
def image_v_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_image_model(tmp_path_factory.mktemp("tiny-v-sd"), "v_prediction")


@pytest.fixture(scope="session")
def video_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_scvideo(tmp_path_factory.mktemp("tiny-scvideo"))


def opened(folder: Path, frames: int = FRAMES, **told: Any) -> Any:
    settings: dict[str, Any] = {"height": 16, "width": 16, "device": "cpu", **told}
    return load_backbone(
        BackboneSettings(family="scvideo", path=str(folder), frames=frames, **settings), Path()
    )


def pipeline(folder: Path) -> Any:
    """Stable Diffusion with DDIM: its folders name PNDM, which is of higher order and is not inverted."""
    made: Any = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder, subfolder="vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder, subfolder="unet"),
        scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("frames", [1, FRAMES])
@pytest.mark.parametrize("guidance", [1.0, GUIDANCE])
@pytest.mark.parametrize("model", ["image_model", "image_v_model"])
def test_one_frame_and_frame_0_equal_diffusers_pipeline(
    model: str, guidance: float, frames: int, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(model)
    backbone = opened(folder, frames)
    z = noise(backbone)
    settings = {"height": 16, "width": 16, "num_inference_steps": 10, "guidance_scale": guidance}
    theirs = pipeline(folder)
    latents = theirs(PROMPTS, latents=z[:, :, 0], output_type="latent", **settings).images
    images = theirs(PROMPTS, latents=z[:, :, 0], output_type="pt", **settings).images
    ours = sample_latents(backbone, z, PROMPTS, steps=10, guidance=guidance)
    assert float((ours[:, :, 0] - latents).abs().max()) <= 1e-5 * max(1.0, float(latents.abs().max()))
    decoded = backbone.decode(ours)[:, :, 0] / 2 + 0.5
    assert float((decoded - images).abs().max()) <= 1e-5


def test_a_saved_scvideo_is_loaded_with_what_it_learnt(image_model: Path, video_model: Path) -> None:
    z = noise(opened(image_model))
    image, video = (
        sample_latents(opened(folder), z, PROMPTS, steps=3, guidance=None)
        for folder in (image_model, video_model)
    )
    assert float((image - video)[:, :, 0].abs().max()) > 1e-2


def test_encoding_is_the_scaled_mode_of_the_posterior_of_each_frame(image_model: Path) -> None:
    backbone = opened(image_model)
    vae: Any = AutoencoderKL.from_pretrained(image_model, subfolder="vae")
    video = torch.rand(2, 3, FRAMES, 16, 16) * 2 - 1
    latents = backbone.encode(video)
    assert latents.shape == (2, *backbone.latent_shape) and latents.dtype == torch.float32
    for frame in range(FRAMES):
        with torch.no_grad():
            expected = vae.encode(video[:, :, frame]).latent_dist.mean * 0.18215
        assert torch.allclose(latents[:, :, frame], expected, atol=1e-6)
    assert backbone.decode(latents).shape == video.shape


@pytest.mark.parametrize(("dtype", "least"), [("float32", 2e-5), ("float64", 1e-11)])
def test_an_inverted_latent_comes_back(dtype: str, least: float, video_model: Path) -> None:
    # Random weights answer too strongly for the iterations to settle; a trained model's answers are bounded.
    backbone = opened(video_model)
    for weight in backbone.unet.unet.conv_out.parameters():
        weight.data.mul_(0.1)
    backbone.unet.to(dtype=getattr(torch, dtype))
    backbone.weights.dtype = getattr(torch, dtype)
    states = backbone.encode_prompts([""]).prompts["states"].to(backbone.weights.dtype)
    empty = TextConditioning({"states": states}, {"states": states})
    clean = backbone.encode(torch.rand(1, 3, FRAMES, 16, 16) * 2 - 1).to(backbone.weights.dtype)

    def predict(z: Tensor, level: int) -> Tensor:
        found: Tensor = backbone.predict(z, level, empty)
        return found

    def error(steps: int, iterations: int = 0) -> float:
        levels = backbone.levels(steps)
        back = denoise(predict, invert(predict, clean, levels, fixed_point_iterations=iterations), levels)
        return float((back - clean).norm() / clean.norm())

    assert error(50, 15) < least < error(50) < error(10)


def test_both_ends_of_the_grid_are_those_of_the_scheduler(image_model: Path) -> None:
    levels = opened(image_model).levels(50)
    scheduler: Any = DDIMScheduler.from_pretrained(image_model, subfolder="scheduler")
    scheduler.set_timesteps(50)
    assert levels.timesteps[1:].tolist() == scheduler.timesteps.flip(0).tolist()
    assert levels.timesteps[0] == 0
    assert levels.signal[0] ** 2 == pytest.approx(float(scheduler.alphas_cumprod[0]), rel=1e-6)
    assert levels.signal[-1] ** 2 == pytest.approx(float(scheduler.alphas_cumprod[981]), rel=1e-6)


@pytest.mark.parametrize("guidance", [None, GUIDANCE])
@pytest.mark.parametrize("rewritten_steps", [0, 2, 5])
def test_the_prompts_are_switched_after_exactly_m_steps(
    rewritten_steps: int, guidance: float | None, image_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = opened(image_model)
    calls: list[dict[str, Tensor]] = []
    denoiser = backbone.denoiser

    def recorded(sample: Tensor, timestep: Tensor, texts: dict[str, Tensor]) -> Tensor:
        calls.append(texts)
        result: Tensor = denoiser(sample, timestep, texts)
        return result

    monkeypatch.setattr(backbone, "denoiser", recorded)
    told: dict[str, Any] = {"rewritten": REWRITTEN, "rewritten_steps": rewritten_steps}
    sample_latents(backbone, noise(backbone), PROMPTS, steps=5, guidance=guidance, **told)
    assert len(calls) == 5
    for step, texts in enumerate(calls):
        seen = REWRITTEN if step < rewritten_steps else PROMPTS
        asked = seen if guidance is None else ["", "", *seen]
        with torch.no_grad():
            expected = torch.cat([backbone.encode_text(text)["states"] for text in asked])
        assert texts.keys() == {"states"} and torch.equal(texts["states"], expected)


def test_a_latent_does_not_depend_on_what_else_is_in_its_batch(video_model: Path) -> None:
    backbone = opened(video_model)
    z = noise(backbone)
    together = sample_latents(backbone, z, PROMPTS, steps=5, guidance=GUIDANCE)
    for one in range(2):
        part = slice(one, one + 1)
        alone = sample_latents(backbone, z[part], PROMPTS[part], steps=5, guidance=GUIDANCE)
        assert float((together[part] - alone).abs().max()) <= 1e-5 * max(1.0, float(together.abs().max()))


def test_channels_last_and_half_precision_change_little(video_model: Path) -> None:
    reference = opened(video_model)
    z = noise(reference)
    expected = sample_latents(reference, z, PROMPTS, steps=3, guidance=None)
    for told, least in (({"channels_last": True}, 1e-5), ({"dtype": "bfloat16"}, 0.1)):
        found = sample_latents(opened(video_model, **told), z, PROMPTS, steps=3, guidance=None)
        assert found.dtype == torch.float32
        assert float((found - expected).norm() / expected.norm()) < least


def test_a_unet_of_another_class_is_told_with_both_that_fit(tmp_path: Path) -> None:
    config = save_tiny_image_model(tmp_path) / "unet" / "config.json"
    config.write_text(config.read_text().replace('"UNet2DConditionModel"', '"UNet3DConditionModel"'))
    told = r"is a UNet3DConditionModel, .* needs a UNet2DConditionModel or SCVideoUNet; .*: modelscope"
    with pytest.raises(UserError, match=told):
        opened(tmp_path)


def test_a_size_that_does_not_fit_is_told(image_model: Path) -> None:
    settings = BackboneSettings(family="scvideo", path=str(image_model), width=16, device="cpu")
    with pytest.raises(UserError, match="18 × 16: the model needs multiples of 4"):
        load_backbone(settings.model_copy(update={"height": 18}), Path())
