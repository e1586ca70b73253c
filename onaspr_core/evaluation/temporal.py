"""How steady a video is from frame to frame, in its pixels and in its frames' embeddings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError


def flicker(frames: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference of consecutive frames, 0 (a still) … 255; lower is steadier.

    `frames` is uint8 (F, H, W, C), F ≥ 2. Motion counts as well as flicker: VBench takes still scenes.
    Raises UserError for another shape or type.
    """
    return float(np.mean(steps(frames)))


def steps(frames: npt.NDArray[np.uint8]) -> list[float]:
    """The mean absolute difference of each two consecutive frames, F − 1 numbers; else as `flicker`."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or len(frames) < 2 or frames.size == 0:
        raise UserError(
            f"Flicker is measured between uint8 frames (F, H, W, C), at least 2, not {frames.dtype} "
            f"{frames.shape}."
        )
    pairs = pairwise(frames)
    # The larger less the smaller stays within uint8.
    return [float((np.maximum(one, two) - np.minimum(one, two)).mean()) for one, two in pairs]


def temporal_flickering(frames: npt.NDArray[np.uint8]) -> float:
    """VBench's "temporal flickering": (255 − flicker)/255, 1 for a still; higher is steadier.

    Source: Huang et al. 2024, VBench `temporal_flickering.py`. Raises UserError like `flicker`.
    """
    return (255.0 - flicker(frames)) / 255.0


def frame_consistency(frame_embeddings: npt.ArrayLike) -> float:
    """Mean cosine of consecutive frames' image embeddings (F, d), F ≥ 2, in [−1, 1]; higher is steadier.

    Source: Esser et al. 2023 (Gen-1), section 4, with CLIP embeddings. They need not be normalised.
    Raises UserError for one frame, or a zero or non-finite embedding.
    """
    x = np.asarray(frame_embeddings, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise UserError(f"Consistency is measured between frames (F, d), at least 2, not {x.shape}.")
    lengths = np.linalg.norm(x, axis=1)
    if not np.isfinite(lengths).all() or (lengths == 0.0).any():
        raise UserError("A frame's embedding is zero or not finite; its cosine is not defined.")
    unit = x / lengths[:, None]
    return float((unit[:-1] * unit[1:]).sum(axis=1).mean())
