"""A sentence-transformers model of random weights, some of them beside the transformer."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Pooling, Transformer
from transformers import BertConfig, BertModel

from tests.tiny_models import WORDS, tokenizer_of_words


def save_tiny_embedder(folder: Path) -> Path:
    """Save transformer, pooling and a dense layer; vectors have 4 values."""
    torch.manual_seed(0)
    bert = folder.with_name(f"{folder.name}-bert")
    small: dict[str, Any] = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **small)).save_pretrained(bert)
    tokenizer_of_words().save_pretrained(bert)
    transformer = Transformer(str(bert))
    parts = [transformer, Pooling(8), Dense(8, 4)]
    SentenceTransformer(modules=parts, device="cpu").save_pretrained(str(folder))
    return folder
