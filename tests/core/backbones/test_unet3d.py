"""The ModelScope family against diffusers' own pipeline and components."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from onaspr_core.backbones.protocol import Backbone
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.diffusion.solvers import denoise, invert
from onaspr_core.errors import UserError
from onaspr_core.settings import BackboneSettings
from tests.core.backbones.families import noise

PROMPTS = ["a red cat", "two dogs"]
GUIDANCE = 9.0


@pytest.fixture
def backbone(tiny_settings: BackboneSettings) -> Backbone:
    return load_backbone(tiny_settings, Path())


def pipeline(folder: Path) -> Any:
    made: Any = TextToVideoSDPipeline(
        vae=AutoencoderKL.from_pretrained(folder, subfolder="vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        unet=UNet3DConditionModel.from_pretrained(folder, subfolder="unet"),
        scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler"),
    )
    made.set_progress_bar_config(disable=True)
    return made


def generate(backbone: Backbone, z: Tensor, prompts: list[str], steps: int, guidance: float | None) -> Tensor:
    conditioning = backbone.encode_prompts(prompts)
    return denoise(
        lambda z, level: backbone.predict(z, level, conditioning, guidance),
        z,
        backbone.levels(steps),
        backbone.prediction_type,
    )


@pytest.mark.parametrize("guidance", [1.0, GUIDANCE])
@pytest.mark.parametrize("model", ["tiny_model", "tiny_v_model"])
def test_generation_equals_diffusers_pipeline(
    model: str, guidance: float, request: pytest.FixtureRequest, tiny_settings: BackboneSettings
) -> None:
    folder: Path = request.getfixturevalue(model)
    backbone = load_backbone(tiny_settings.model_copy(update={"path": str(folder)}), Path())
    z = noise(backbone)
    settings = {"num_frames": 3, "height": 16, "width": 16, "num_inference_steps": 10}
    theirs = pipeline(folder)
    latents = theirs(PROMPTS, latents=z, guidance_scale=guidance, output_type="latent", **settings).frames
    video = theirs(PROMPTS, latents=z, guidance_scale=guidance, output_type="pt", **settings).frames
    ours = generate(backbone, z, PROMPTS, 10, guidance)
    assert float((ours - latents).abs().max()) <= 1e-6 * max(10.0, float(latents.abs().max()))
    decoded = backbone.decode(ours).transpose(1, 2) / 2 + 0.5
    assert float((decoded - video).abs().max()) <= 1e-5


def test_guidance_up_to_one_is_the_conditional_prediction(backbone: Backbone) -> None:
    backbone.levels(10)
    conditioning = backbone.encode_prompts(PROMPTS)
    found = [backbone.predict(noise(backbone), 5, conditioning, guidance) for guidance in (None, 0.0, 1.0)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_guidance_extrapolates_from_the_empty_prompt(backbone: Backbone) -> None:
    backbone.levels(10)
    z = noise(backbone)
    empty = backbone.predict(z, 7, backbone.encode_prompts(["", ""]))
    prompted = backbone.predict(z, 7, backbone.encode_prompts(PROMPTS))
    guided = backbone.predict(z, 7, backbone.encode_prompts(PROMPTS), 4.0)
    assert float((prompted - empty).abs().max()) > 1e-3
    assert torch.allclose(guided, empty + 4 * (prompted - empty), atol=1e-5)


def test_switching_between_prompts_leaves_nothing_behind(backbone: Backbone) -> None:
    backbone.levels(10)
    z, first, second = (
        noise(backbone),
        backbone.encode_prompts(PROMPTS),
        backbone.encode_prompts(PROMPTS[::-1]),
    )
    expected = backbone.predict(z, 5, first, GUIDANCE)
    backbone.predict(z, 5, second, GUIDANCE)
    backbone.predict(z, 5, first)
    assert torch.equal(backbone.predict(z, 5, first, GUIDANCE), expected)


def test_a_latent_does_not_depend_on_what_else_is_in_its_batch(backbone: Backbone) -> None:
    z = noise(backbone)
    together = generate(backbone, z, PROMPTS, 5, GUIDANCE)
    apart = torch.cat([generate(backbone, z[i : i + 1], PROMPTS[i : i + 1], 5, GUIDANCE) for i in range(2)])
    assert float((together - apart).abs().max()) <= 1e-5 * max(1.0, float(together.abs().max()))


def test_the_model_is_asked_at_the_timestep_of_the_level(backbone: Backbone, tiny_model: Path) -> None:
    levels = backbone.levels(10)
    unet: Any = UNet3DConditionModel.from_pretrained(tiny_model, subfolder="unet")
    conditioning: Any = backbone.encode_prompts(PROMPTS)
    z = noise(backbone)
    assert levels.timesteps.tolist() == [0, *range(1, 1000, 100)]
    for level in (0, 1, 10):
        with torch.no_grad():
            expected = unet(
                z, int(levels.timesteps[level]), encoder_hidden_states=conditioning.prompts["states"]
            ).sample
        assert torch.allclose(backbone.predict(z, level, conditioning), expected, atol=1e-6)


def test_encoding_is_the_scaled_mode_of_the_posterior_of_each_frame(
    backbone: Backbone, tiny_model: Path
) -> None:
    vae: Any = AutoencoderKL.from_pretrained(tiny_model, subfolder="vae")
    video = torch.rand(2, 3, 3, 16, 16) * 2 - 1
    latents = backbone.encode(video)
    assert latents.shape == (2, *backbone.latent_shape) and latents.dtype == torch.float32
    for clip in range(2):
        for frame in range(3):
            with torch.no_grad():
                expected = vae.encode(video[clip, :, frame][None]).latent_dist.mean[0] * 0.18215
            assert torch.allclose(latents[clip, :, frame], expected, atol=1e-6)


def test_many_frames_go_through_the_autoencoder_in_parts(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = torch.rand(3, 3, 3, 16, 16) * 2 - 1
    whole = backbone.encode(video), backbone.decode(noise(backbone, 3))
    monkeypatch.setattr("onaspr_core.backbones.frames.PIXELS_PER_CALL", 2 * 16 * 16)
    parts = backbone.encode(video), backbone.decode(noise(backbone, 3))
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_decoded_video_has_the_video_shape_and_stays_in_range(backbone: Backbone) -> None:
    video = backbone.decode(100 * noise(backbone))
    assert video.shape == (2, 3, 3, 16, 16) and video.dtype == torch.float32
    assert float(video.abs().max()) <= 1


def test_fixed_point_iterations_bring_an_inverted_latent_closer_to_its_origin(backbone: Backbone) -> None:
    levels, empty = backbone.levels(10), backbone.encode_prompts(["", ""])
    clean = backbone.encode(torch.rand(2, 3, 3, 16, 16) * 2 - 1)

    def predict(z: Tensor, level: int) -> Tensor:
        return backbone.predict(z, level, empty)

    back = denoise(predict, invert(predict, clean, levels, fixed_point_iterations=10), levels)
    explicit = denoise(predict, invert(predict, clean, levels), levels)
    assert float((back - clean).norm()) < 0.1 * float((explicit - clean).norm())
    assert float((back - clean).norm() / clean.norm()) < 0.05


def test_half_precision_models_take_and_give_float32(tiny_settings: BackboneSettings) -> None:
    half = load_backbone(tiny_settings.model_copy(update={"dtype": "bfloat16"}), Path())
    full = load_backbone(tiny_settings, Path())
    half.levels(10), full.levels(10)
    z = noise(full)
    predicted = half.predict(z, 5, half.encode_prompts(PROMPTS), GUIDANCE)
    assert predicted.dtype == torch.float32
    expected = full.predict(z, 5, full.encode_prompts(PROMPTS), GUIDANCE)
    assert float((predicted - expected).norm() / expected.norm()) < 0.1
    assert half.decode(z).dtype == half.encode(torch.zeros(1, 3, 3, 16, 16)).dtype == torch.float32


def test_weights_stored_in_half_precision_are_brought_to_the_dtype_of_the_settings(
    tiny_model: Path, tiny_settings: BackboneSettings, tmp_path: Path
) -> None:
    models: dict[str, Any] = {
        "unet": UNet3DConditionModel,
        "vae": AutoencoderKL,
        "text_encoder": CLIPTextModel,
    }
    for name, model in models.items():
        loaded = model.from_pretrained(tiny_model, subfolder=name).half()
        loaded.save_pretrained(tmp_path / name, variant="fp16")
    for name in ("tokenizer", "scheduler"):
        (tmp_path / name).symlink_to(tiny_model / name)
    assert not list(tmp_path.glob("unet/diffusion_pytorch_model.safetensors"))
    backbone = load_backbone(tiny_settings.model_copy(update={"path": str(tmp_path)}), Path())
    reference = load_backbone(tiny_settings, Path())
    z = noise(backbone)
    found, expected = (generate(one, z, PROMPTS, 3, GUIDANCE) for one in (backbone, reference))
    assert found.dtype == torch.float32
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.02


def test_what_the_model_returns_can_be_written_to(backbone: Backbone) -> None:
    backbone.levels(2)
    z, conditioning = noise(backbone), backbone.encode_prompts(PROMPTS)
    predictions = [backbone.predict(z, 1, conditioning, guidance) for guidance in (None, GUIDANCE)]
    for tensor in (*predictions, backbone.decode(z), backbone.encode(torch.zeros(1, 3, 3, 16, 16))):
        tensor.zero_()
        assert not tensor.requires_grad


def test_long_prompts_are_cut_and_not_refused(backbone: Backbone) -> None:
    backbone.levels(2)
    conditioning = backbone.encode_prompts(["a very long prompt " * 50])
    assert torch.isfinite(backbone.predict(noise(backbone, 1), 1, conditioning, GUIDANCE)).all()


def test_predicting_before_a_grid_is_chosen_is_refused(backbone: Backbone) -> None:
    with pytest.raises(UserError, match="levels"):
        backbone.predict(noise(backbone), 1, backbone.encode_prompts(PROMPTS))
