"""From checkpoints to the folder that the package ships: averaged weights, fp16, in the libraries' formats.

`text-to-video` is laid out as a ModelScope pipeline, `text-to-image` as Stable Diffusion's, `scvideo` as
`onaspr_core.training` leaves it; the judges are transformers models, each with the `preprocessor_config.json`
that says how frames become its input. A stage without a checkpoint is left out.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, StableDiffusionPipeline, TextToVideoSDPipeline
from torch import nn
from transformers import CLIPTokenizer

from onaspr_core.backbones.scvideo_unet import SCVideoUNet
from onaspr_core.errors import UserError
from onaspr_core.miniature.rendering import CLIP_SIZE
from onaspr_core.miniature.train import classifiers, image_text, text_to_video
from onaspr_core.miniature.train.fitting import load_average, step_of
from onaspr_core.miniature.train.text import kept_tokenizer
from onaspr_core.training import state

MOST_BYTES = 15_000_000


def export(out: Path, weights: Path, seed: int) -> dict[str, int]:
    """Write all models that have a checkpoint in `out` to `weights`, replacing what is there.

    Returns the step of each stage that was exported.
    Raises UserError when the result is larger than MOST_BYTES; nothing has been replaced then.
    """
    fresh = weights.with_name(weights.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    tokenizer = kept_tokenizer(out, seed)
    steps: dict[str, int] = {}
    if (out / "text-to-video.safetensors").exists():
        steps["text-to-video"] = _text_to_video(out, fresh / "text-to-video", tokenizer)
    if (out / "text-to-image").is_dir():
        shutil.copytree(out / "text-to-image", fresh / "text-to-image")
        steps["text-to-image"] = step_of(out / "text-to-image.safetensors")
    if (out / "scvideo" / "unet").is_dir():
        steps["scvideo"] = _scvideo(out / "scvideo", fresh / "scvideo")
    judges: dict[str, Any] = {
        "image-text": lambda: image_text.build(tokenizer),
        "image-classifier": classifiers.build_image_classifier,
        "video-classifier": classifiers.build_video_classifier,
    }
    for name, build in judges.items():
        checkpoint = out / f"{name}.safetensors"
        if checkpoint.exists():
            model = build()
            steps[name] = load_average(model, checkpoint)
            _save(model, fresh / name)
            (fresh / name / "preprocessor_config.json").write_text(
                json.dumps(_preprocessing(), indent=2) + "\n"
            )
    if "image-text" in steps:
        tokenizer.save_pretrained(fresh / "image-text")
    for report in ("log.jsonl", "quality.json"):
        if (out / report).exists():
            shutil.copy(out / report, fresh / report)
    for config in fresh.rglob("config.json"):
        _without_origin(config)
    # A tokenizer in use also saves how it was last asked to pad.
    for saved in fresh.rglob("tokenizer.json"):
        shutil.copytree(out / "tokenizer", saved.parent, dirs_exist_ok=True)
    _replace(fresh, weights)
    return steps


def _text_to_video(out: Path, folder: Path, tokenizer: CLIPTokenizer) -> int:
    model: Any = text_to_video.TextToVideo(tokenizer)
    step = load_average(model, out / "text-to-video.safetensors")
    pipeline: Any = TextToVideoSDPipeline(
        vae=AutoencoderKL.from_pretrained(out / "vae").half(),
        text_encoder=model.text_encoder.half(),
        tokenizer=tokenizer,
        unet=model.unet.half(),
        scheduler=text_to_video.scheduler(),
    )
    pipeline.save_pretrained(folder)
    return step


def save_text_to_image(
    unet: Any, text_encoder: Any, tokenizer: CLIPTokenizer, vae: Any, folder: Path
) -> None:
    """Save the image model as it is shipped, in Stable Diffusion's form; it has no safety checker."""
    pipeline: Any = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=text_to_video.scheduler(),
        safety_checker=None,
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def _scvideo(trained: Path, folder: Path) -> int:
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns(state.FOLDER))
    _save(SCVideoUNet.from_pretrained(trained / "unet"), folder / "unet")
    return state.steps_of(trained)


def _save(model: nn.Module, folder: Path) -> None:
    saver: Any = model.half()
    saver.save_pretrained(folder)


def _without_origin(config: Path) -> None:
    """Take out where on this machine a model was loaded from."""
    told = json.loads(config.read_text())
    if told.pop("_name_or_path", None) is not None:
        config.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")


def _preprocessing() -> dict[str, Any]:
    return {
        "do_resize": True,
        "size": {"shortest_edge": CLIP_SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": CLIP_SIZE, "width": CLIP_SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


def _replace(fresh: Path, weights: Path) -> None:
    size = sum(file.stat().st_size for file in fresh.rglob("*") if file.is_file())
    if size > MOST_BYTES:
        raise UserError(f"{fresh} holds {size} bytes, more than {MOST_BYTES}: make the models smaller")
    old = weights.with_name(weights.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if weights.exists():
        weights.rename(old)
    fresh.rename(weights)
    shutil.rmtree(old, ignore_errors=True)
