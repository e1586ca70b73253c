"""Cross-attention from video to text whose keys and values are computed once for a prompt.

Within one generation the text is the same for every frame and every step, so its projections are too;
diffusers computes them per frame and step. The results are those of diffusers' own processor up to rounding.
"""

from typing import Any

import torch.nn.functional as functional
from torch import Tensor, nn


class TextAttention:
    """An attention processor for diffusers' `Attention` modules, shared by all of one model."""

    def __init__(self) -> None:
        """Start with no text."""
        self._text: Tensor | None = None
        self._projected: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def attend_to(self, text: Tensor) -> None:
        """Set the text that the next calls attend to, (B, length, width) for B videos.

        Projections are kept while it stays the same tensor.
        """
        if text is not self._text:
            self._text = text
            self._projected.clear()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from every pixel of every frame, (B·F, pixels, width), to the text of its video.

        `encoder_hidden_states` is the text once per frame, and is not read; there is no mask.
        """
        key, value = self._keys_and_values(attn)
        query = attn.to_q(hidden_states)
        grouped = query.reshape(len(key), -1, attn.heads, key.shape[-1]).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(grouped, key, value)
        result: Tensor = attn.to_out[0](attended.transpose(1, 2).reshape(query.shape))
        return result

    def _keys_and_values(self, attn: Any) -> tuple[Tensor, Tensor]:
        if attn not in self._projected:
            key, value = (
                projection(self._text).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
                for projection in (attn.to_k, attn.to_v)
            )
            self._projected[attn] = key, value
        return self._projected[attn]


def install(model: nn.Module) -> TextAttention:
    """Give all cross-attention of a diffusers model one `TextAttention`, and return it."""
    processor = TextAttention()
    for module in model.modules():
        if getattr(module, "is_cross_attention", False):
            module.set_processor(processor)  # type: ignore[operator]
    return processor
