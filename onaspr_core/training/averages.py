"""The moving average of weights that learn, which is better than the last of them."""

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def follow(average: Sequence[Tensor], values: Sequence[Tensor], decay: float, step: int) -> None:
    """Bring an exponential moving average after step 0, 1 … on, in place.

    It starts faster than it goes on, so that the first steps are soon forgotten.
    """
    keep = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average), list(values), 1 - keep)
