"""Tokenizer and text encoder of the miniature, in CLIP's own classes.

The byte-pair merges are learnt from the grammar's captions, so that its words are one token each; any other
text falls back to bytes. Two layers of width 64 read at most `MAX_TOKENS` tokens.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from onaspr_core.miniature.attributes import Scene, combinations
from onaspr_core.miniature.grammar import DISTRACTORS, caption

MAX_TOKENS = 32
WIDTH = 64


def build_tokenizer(seed: int = 0) -> CLIPTokenizer:
    """Learn merges from captions of all combinations (words are no secret, only clips are held out)."""
    rng = np.random.default_rng(seed)
    texts = [
        caption(Scene(*c), rng, rich) for c in combinations() for rich in (False, True) for _ in range(8)
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=4000, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator([*texts, *DISTRACTORS], trainer)
    merges: Any = [tuple(merge) for merge in _merges(learner)]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    words += [word for word in dict.fromkeys(a + b for a, b in merges) if word not in set(words)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=merges,
        model_max_length=MAX_TOKENS,
    )


def kept_tokenizer(out: Path, seed: int) -> CLIPTokenizer:
    """The tokenizer of all stages of a run, learnt by the first of them and kept in `<out>/tokenizer`.

    Learnt again it could give other ids: which of two equally frequent pairs is merged first is left open.
    """
    folder = out / "tokenizer"
    if not folder.is_dir():
        partial = out / "tokenizer.partial"
        shutil.rmtree(partial, ignore_errors=True)
        build_tokenizer(seed).save_pretrained(partial)
        partial.rename(folder)
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer


def _merges(learner: Tokenizer) -> list[list[str]]:
    merges: list[list[str]] = json.loads(learner.to_str())["model"]["merges"]
    return [m.split(" ") if isinstance(m, str) else m for m in merges]


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A new two-layer text encoder with random weights for this tokenizer."""
    return CLIPTextModel(text_config(tokenizer))


def text_config(tokenizer: CLIPTokenizer, layers: int = 2) -> CLIPTextConfig:
    """The configuration of the miniature's text towers."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_act="gelu",
    )


def tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (n, MAX_TOKENS), padded and cut as the pipelines do."""
    batch = tokenizer(
        texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: Tensor = batch["input_ids"]
    return ids
