"""How many items go through a model at once: a fixed number, or what a trial finds to be best.

Knows GPU memory, and no model. Torch is looked at only where a model has imported it already.
"""

import gc
import sys
from typing import Any, Literal

from onaspr_core.errors import UserError
from onaspr_core.progress import logger

LARGEST = 64
_NO_ROOM = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUDA out of memory")
"""What libraries beneath PyTorch say."""

WORTH_IT = 0.9
"""A batch twice as large is kept where an item then takes at most this share of its time."""


class BatchSizes:
    """The size of the next batch, told by how the last one went.

    A fixed size stays until it does not fit. "auto" begins with one item, which it does not time, since first
    calls are slow, and doubles while that pays.
    """

    def __init__(self, asked: int | Literal["auto"]) -> None:
        """Begin with the size that was asked for."""
        self.next = 1 if asked == "auto" else asked
        self._grows = asked == "auto"
        self._warm = False
        self._best: tuple[float, int] | None = None

    def went_well(self, items: int, seconds: float) -> None:
        """Take in that a batch of so many items was made in so many seconds, all of them."""
        if not self._grows or items < self.next:
            return
        if not self._warm:
            self._warm = True
            return
        each = seconds / items
        if self._best is not None and each > self._best[0] * WORTH_IT:
            self._grows, self.next = False, self._best[1]
            return
        self._best = (each, items)
        self.next = min(2 * items, LARGEST)

    def did_not_fit(self, label: str, items: int, remedy: str) -> None:
        """Take in that a batch of so many items did not fit into memory.

        Raises:
            UserError: when it was a single item; it ends with the remedy.
        """
        _free_memory()
        if items == 1:
            raise UserError(f"{label}: the GPU's memory is too small for a single item; {remedy}")
        self._grows, self.next = False, items // 2
        logger.warning(
            "%s: %d at once do not fit into the GPU's memory; going on with %d", label, items, self.next
        )


def is_out_of_memory(problem: Exception) -> bool:
    """Say whether an error is that of a GPU whose memory is full."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return False
    told = isinstance(problem, RuntimeError) and any(one in str(problem) for one in _NO_ROOM)
    return told or isinstance(problem, torch.OutOfMemoryError)


def _free_memory() -> None:
    torch: Any = sys.modules.get("torch")
    gc.collect()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
