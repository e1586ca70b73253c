"""What feature networks in PyTorch share, whatever their form."""

from collections.abc import Sequence
from typing import NoReturn, cast

import numpy as np
import numpy.typing as npt
import torch

from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import FeatureSet


class WithoutText:
    """A network that sees pictures alone."""

    feature_set: FeatureSet

    def texts(self, texts: Sequence[str]) -> NoReturn:
        """Refuse: a UserError."""
        raise UserError(f"{self.feature_set.name} reads no text; CLIPSIM needs an image-text model.")


def as_array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    """Return a tensor's values as float32."""
    return cast("npt.NDArray[np.float32]", tensor.float().cpu().numpy())
