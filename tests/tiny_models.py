"""Models of a few thousand random weights, in the forms that diffusers and transformers have on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "red", "blue", "ball", "left", "right", "a"]
LABELS = ["colour:red", "colour:blue", "motion:left", "motion:right", "motion:up"]


def randomise(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give every weight a value: layers that start at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def save_tiny_text_to_video(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Save unet, vae, text encoder, tokenizer and scheduler; 16 × 16 pixels become 4 × 4 latents."""
    torch.manual_seed(0)
    unet: Any = UNet3DConditionModel(
        sample_size=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=2,
    )
    vae: Any = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
    )
    text = CLIPTextConfig(
        vocab_size=54,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    scheduler: Any = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        set_alpha_to_one=False,
        steps_offset=1,
        clip_sample=False,
        prediction_type=prediction_type,
    )
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    tokenizer = CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=12
    )
    components = {"unet": unet, "vae": vae, "text_encoder": CLIPTextModel(text)}
    for seed, (name, model) in enumerate(components.items()):
        randomise(model, seed).save_pretrained(folder / name)  # type: ignore[operator]
    scheduler.save_pretrained(folder / "scheduler")
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder


def save_tiny_judges(root: Path) -> Path:
    """Save image-classifier, image-text and video-classifier under `root`, random weights from a seed."""
    torch.manual_seed(0)
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {v: i for i, v in enumerate(LABELS)},
    }
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", **labels)
    _save(ResNetForImageClassification(resnet), root / "image-classifier")
    small: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = {
        **small,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 8,
        "eos_token_id": 3,
        "bos_token_id": 2,
    }
    vision = {**small, "image_size": 16, "patch_size": 8}
    clip = CLIPConfig(text_config={**text, "pad_token_id": 0}, vision_config=vision, projection_dim=6)
    _save(CLIPModel(clip), root / "image-text")
    tokenizer_of_words().save_pretrained(root / "image-text")
    video = VideoMAEConfig(image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **small, **labels)
    _save(VideoMAEForVideoClassification(video), root / "video-classifier")
    return root


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    write_preprocessor(folder, size={"height": 16, "width": 16})


def write_preprocessor(folder: Path, mean: Sequence[float] = (0.5, 0.4, 0.3), **values: object) -> None:
    """Write a preprocessor_config.json as transformers' image processors do."""
    config = {"image_mean": list(mean), "image_std": [0.5, 0.5, 0.25], "resample": 3, **values}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def tokenizer_of_words() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]", unk_token="[UNK]"
    )
