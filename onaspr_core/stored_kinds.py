"""The kinds of stored items, and which asset makes each, for errors that say what to materialize.

A kind is a folder of the store and a part of content keys: one that is renamed here loses its items.
"""

from collections.abc import Mapping
from typing import Any

FEATURES = "features"
INVERTED_LATENT = "inverted-latent"
NOISE_PREVIEW = "noise-preview"
PROMPT_EMBEDDING = "prompt-embedding"
REWRITE = "rewrite"
SCORE = "score"
STAGE_TIME = "stage-time"
UNANSWERED_REWRITE = "unanswered-rewrite"
"""Originals that stand in for rewrites the endpoint gave no answer for; the next run asks for these again."""
VIDEO = "video"

ASSETS = {
    FEATURES: "scores, or reference_features for those of real videos",
    INVERTED_LATENT: "inverted_latents",
    NOISE_PREVIEW: "inverted_latents",
    PROMPT_EMBEDDING: "neighbours",
    REWRITE: "rewritten_prompts",
    SCORE: "scores",
    STAGE_TIME: "table_4",
    UNANSWERED_REWRITE: "rewritten_prompts",
    VIDEO: "the videos of its variant",
}


def asset_of(kind: str, record: Mapping[str, Any] | None = None) -> str:
    """Return the asset, or words for it; a video's record says which of the four it is."""
    if kind == VIDEO and record and record.get("variant"):
        return f"{record['variant']}_videos"
    return ASSETS.get(kind, "the asset that makes it")
