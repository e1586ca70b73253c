"""What CLIP text encoders are asked with."""

from typing import Any

from torch import Tensor


def token_ids(tokenizer: Any, encoder: Any, text: str) -> Tensor:
    """Return a text's token ids (1, length), cut and padded to the encoder's length."""
    ids: Tensor = tokenizer(
        [text],
        padding="max_length",
        max_length=min(tokenizer.model_max_length, encoder.config.max_position_embeddings),
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids
