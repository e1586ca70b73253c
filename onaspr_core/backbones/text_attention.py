"""Cross-attention from video to text whose keys and values are computed once for a prompt.

Within one generation the text is the same for every frame and every step, so its projections are too;
diffusers computes them per frame and step. The results are those of diffusers' own processor up to rounding.
"""

from typing import Any

import torch.nn.functional as functional
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

from onaspr_core.errors import UserError


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

    def forget(self) -> None:
        """Free the text and its projections, once for each layer, until the model is called again."""
        self._text = None
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
    """Give all cross-attention of a diffusers model one `TextAttention`, and return it.

    Raises:
        UserError: when the model attends to text in another way than plain attention does.
    """
    processor = TextAttention()
    for name, module in model.named_modules():
        if getattr(module, "is_cross_attention", False):
            if not _is_plain(module):
                raise UserError(
                    f"the model's {name} is no plain cross-attention, and no other is supported; choose "
                    "another model"
                )
            module.set_processor(processor)  # type: ignore[operator]
    return processor


def _is_plain(attn: Any) -> bool:
    """Say whether attention is projections and a softmax, and nothing that `TextAttention` leaves out."""
    more = (attn.norm_q, attn.norm_k, attn.norm_cross, attn.group_norm, attn.spatial_norm)
    return (
        isinstance(attn.processor, AttnProcessor2_0)
        and not any(part is not None for part in more)
        and not attn.residual_connection
        and attn.rescale_output_factor == 1
    )
