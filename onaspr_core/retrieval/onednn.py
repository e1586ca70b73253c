"""Matrix products by oneDNN on the CPU: linear layers of a model, and scores of vectors.

PyTorch multiplies float32 matrices with its BLAS, which on processors that are not Intel's leaves half of the
arithmetic unused; oneDNN, which PyTorch carries too, does not. Both compute in float32 throughout.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from onaspr_core.retrieval.embedder import Vectors


def available() -> bool:
    """Say whether this PyTorch carries oneDNN."""
    return bool(torch.backends.mkldnn.is_available())


def use_onednn(module: nn.Module) -> None:
    """Replace every float32 `nn.Linear` inside a module, in place; for inference on the CPU only.

    Subclasses are left alone: whoever wrote one reads its weights in other ways than by calling it.
    """
    for name, child in module.named_children():
        if type(child) is nn.Linear and child.weight.dtype == torch.float32:
            setattr(module, name, _Linear(child))
        else:
            use_onednn(child)


def packed(rows: Vectors) -> Tensor:
    """Return float32 rows as `scores` takes them."""
    dense = torch.from_numpy(np.require(rows, requirements=["C", "W"]))
    return dense.to_mkldnn() if available() else dense


def scores(queries: Tensor, vectors: Tensor) -> Tensor:
    """Return the inner products of packed rows, a dense float32 tensor (queries, vectors)."""
    return linear(queries, vectors).to_dense() if queries.is_mkldnn else queries @ vectors.T


class _Linear(nn.Module):
    def __init__(self, dense: nn.Linear) -> None:
        super().__init__()
        self.weight = dense.weight.detach().to_mkldnn()
        self.bias = None if dense.bias is None else dense.bias.detach().to_mkldnn()

    def forward(self, x: Tensor) -> Tensor:
        return linear(x.to_mkldnn(), self.weight, self.bias).to_dense()
