"""CLIPSIM: how well the frames of a video match its prompt in an image-text embedding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onaspr_core.errors import UserError


def clipsim(frame_embeddings: npt.ArrayLike, text_embedding: npt.ArrayLike) -> float:
    """Mean over frames of the cosine between each frame (F, d) and the text (d,), in [−1, 1].

    A cosine, not multiplied by 100; embeddings need not be normalised. The text is always the
    ORIGINAL prompt. Raises UserError for a zero or non-finite embedding.
    """
    frames = np.asarray(frame_embeddings, dtype=np.float64)
    text = np.asarray(text_embedding, dtype=np.float64)
    if frames.ndim != 2 or len(frames) == 0 or text.shape != frames.shape[1:]:
        raise UserError(
            f"CLIPSIM compares frames (F, d) with one text (d,), not {frames.shape} with {text.shape}; "
            "use the image and the text side of one model."
        )
    lengths = np.linalg.norm(frames, axis=1) * np.linalg.norm(text)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise UserError("An embedding is zero or not finite; its cosine is not defined.")
    return float((frames @ text / lengths).mean())
