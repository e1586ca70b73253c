"""Tiny networks in the form that transformers saves them, for the tests of this folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
)

WORDS = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "red", "blue", "ball", "left", "right", "a"]
LABELS = ["colour:red", "colour:blue", "motion:left", "motion:right", "motion:up"]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with image-classifier, image-text and video-classifier, randomly initialised from a seed."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    labels: dict[str, object] = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {v: i for i, v in enumerate(LABELS)},
    }
    resnet = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", **labels)
    _save(ResNetForImageClassification(resnet), root / "image-classifier")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
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
    _tokenizer().save_pretrained(root / "image-text")
    video = VideoMAEConfig(image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **small, **labels)
    _save(VideoMAEForVideoClassification(video), root / "video-classifier")
    return root


def _save(model: torch.nn.Module, folder: Path) -> None:
    model.save_pretrained(folder)  # type: ignore[operator]
    write_preprocessor(folder, size={"height": 16, "width": 16})


def write_preprocessor(folder: Path, mean: Sequence[float] = (0.5, 0.4, 0.3), **values: object) -> None:
    """Write a preprocessor_config.json as transformers' image processors do."""
    config = {"image_mean": list(mean), "image_std": [0.5, 0.5, 0.25], "resample": 3, **values}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", bos_token="[BOS]", eos_token="[EOS]", unk_token="[UNK]"
    )
