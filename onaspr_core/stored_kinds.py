"""Which asset makes the items of each kind, for errors that tell a person what to materialize."""

from collections.abc import Mapping
from typing import Any

ASSETS = {
    "features": "scores, or reference_features for those of real videos",
    "inverted-latent": "inverted_latents",
    "noise-preview": "inverted_latents",
    "prompt-embedding": "neighbours",
    "rewrite": "rewritten_prompts",
    "score": "scores",
    "stage-time": "table_4",
    "unanswered-rewrite": "rewritten_prompts",
    "video": "the videos of its variant",
}


def asset_of(kind: str, record: Mapping[str, Any] | None = None) -> str:
    """Return the asset, or words for it; a video's record says which of the four it is."""
    if kind == "video" and record and record.get("variant"):
        return f"{record['variant']}_videos"
    return ASSETS.get(kind, "the asset that makes it")
