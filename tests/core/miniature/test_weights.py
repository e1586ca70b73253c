"""The shipped models: small, complete, loadable by the libraries, and right about held-out clips."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, TextToVideoSDPipeline
from safetensors.torch import load_file

from onaspr_core.miniature import WEIGHTS
from onaspr_core.miniature.attributes import Scene
from onaspr_core.miniature.train import quality
from onaspr_core.miniature.train.autoencoder import encode_clips
from onaspr_core.miniature.train.data import Clips, as_video, rendered_clips
from onaspr_core.paths import folder_fingerprint

HELD_OUT = 120


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def clips() -> Clips:
    return rendered_clips(seed=4242, count=HELD_OUT, held_out=True)


def test_everything_that_is_needed_is_there_in_at_most_15_megabytes() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 15_000_000
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".safetensors", ".txt", ".jinja"}
    for model in quality.FAMILIES:
        for part in ("unet", "vae", "text_encoder"):
            assert list((WEIGHTS / model / part).glob("*.safetensors")), (model, part)
    for judge in ("image-text", "image-classifier", "video-classifier"):
        assert (WEIGHTS / judge / "model.safetensors").is_file()
        assert (WEIGHTS / judge / "preprocessor_config.json").is_file()


def test_nothing_tells_of_the_machine_that_it_was_made_on() -> None:
    assert not any("_name_or_path" in path.read_text() for path in WEIGHTS.rglob("*.json"))
    tokenizers = {path.read_bytes() for path in WEIGHTS.rglob("tokenizer.json")}
    assert len(tokenizers) == 1


def test_diffusers_own_pipeline_loads_the_folder_and_makes_a_video() -> None:
    pipeline = TextToVideoSDPipeline.from_pretrained(WEIGHTS / "text-to-video", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    scheduler = pipeline.scheduler.config
    assert (scheduler.beta_schedule, scheduler.prediction_type) == ("scaled_linear", "v_prediction")
    assert (scheduler.beta_start, scheduler.beta_end, scheduler.steps_offset) == (0.00085, 0.012, 1)
    assert not (scheduler.clip_sample or scheduler.set_alpha_to_one or scheduler.rescale_betas_zero_snr)
    video = pipeline(
        "a red ball moves left over the sea", 32, 32, 8, num_inference_steps=2, output_type="np"
    ).frames
    assert video.shape == (1, 8, 32, 32, 3)


def test_diffusers_own_pipeline_loads_the_image_model_and_makes_an_image() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / "text-to-image", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    images = pipeline("a red ball over the sea", 32, 32, num_inference_steps=2, output_type="np").images
    assert images.shape == (1, 32, 32, 3)


def test_scvideo_is_the_image_model_with_what_was_inserted_learnt() -> None:
    image = load_file(WEIGHTS / "text-to-image/unet/diffusion_pytorch_model.safetensors")
    video = load_file(WEIGHTS / "scvideo/unet/diffusion_pytorch_model.safetensors")
    inserted = [name for name in video if ".temporal." in name]
    kept = {name.removeprefix("unet.").replace(".spatial.", "."): name for name in video.keys() - inserted}
    assert kept.keys() == image.keys()
    assert all(torch.equal(video[name], image[own]) for own, name in kept.items())
    last = [name for name in inserted if name.endswith(("conv4.3.weight", "proj_out.weight"))]
    assert len(last) == 12 and all(float(video[name].abs().max()) > 0 for name in last)
    for part in ("vae", "text_encoder"):
        assert folder_fingerprint(WEIGHTS / "scvideo" / part) == folder_fingerprint(
            WEIGHTS / "text-to-image" / part
        )


def test_latents_have_zero_mean_and_unit_variance_and_decode_to_the_clip(clips: Clips) -> None:
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(WEIGHTS / "text-to-video" / "vae", torch_dtype=torch.float32)
    assert model.config.scaling_factor == 1.0
    latents = encode_clips(model, clips, "cpu")
    assert latents.shape == (HELD_OUT, 4, 8, 8, 8)
    assert latents.mean((0, 2, 3, 4)).abs().max() < 0.25
    assert ((latents.std((0, 2, 3, 4)) - 1).abs() < 0.2).all()
    frames = as_video(clips.frames[:20]).transpose(1, 2).flatten(0, 1)
    decoded = model.decode(latents[:20].transpose(1, 2).flatten(0, 1)).sample
    assert 127.5 * (decoded - frames).square().mean().sqrt() < 10


def test_the_classifiers_are_right_about_fresh_clips_of_held_out_combinations(clips: Clips) -> None:
    video, scenes = as_video(clips.frames), clips.scenes
    for accuracies in (
        quality.judge_videos(WEIGHTS, video, scenes),
        quality.judge_images(WEIGHTS, video[:, :, 2:4], scenes),
    ):
        assert min(accuracies.values()) >= 0.97, accuracies


def test_the_image_text_model_knows_a_frames_own_caption(clips: Clips) -> None:
    share = quality.match_captions(WEIGHTS, as_video(clips.frames)[:, :, 3], clips.scenes)
    assert share >= 0.8


def test_a_wrong_scene_is_not_called_right(clips: Clips) -> None:
    wrong = [Scene(s.colour, s.shape, s.motion, _other(s.background)) for s in clips.scenes]
    judged = quality.judge_videos(WEIGHTS, as_video(clips.frames), wrong)
    assert judged["background"] < 0.05 < 0.95 < judged["colour"]


def test_the_shipped_quality_is_that_of_these_weights_and_meets_the_bar() -> None:
    report = json.loads(Path(WEIGHTS / "quality.json").read_text())
    assert report["weights"] == quality.fingerprints(WEIGHTS)
    for model in ("text_to_video", "scvideo"):
        seen = report[model]["judged_by_video_classifier"]
        assert report[model]["prompts"] == 200
        assert min(seen["colour"], seen["shape"], seen["background"]) >= 0.85
        assert seen["motion"] >= 0.60
    assert min(report["text_to_image"]["judged_by_image_classifier"].values()) >= 0.85
    assert (WEIGHTS / "log.jsonl").is_file()


@pytest.mark.parametrize("model", quality.FAMILIES)
def test_a_few_held_out_prompts_are_generated_about_as_well_as_reported(model: str) -> None:
    videos, scenes = quality.generate(WEIGHTS, model, 16)
    judge = quality.judge_images if videos.shape[2] == 1 else quality.judge_videos
    judged = judge(WEIGHTS, videos, scenes)
    assert min(judged.values()) >= 0.7, judged


def _other(background: str) -> str:
    return "sea" if background != "sea" else "night"
