"""What the four variants are called and mean to people, in figures and in the gallery."""

VARIANTS = {
    "baseline": ("Baseline", "random noise, original prompt"),
    "ona": ("ONA", "noise mixed with the neighbour's inverted noise"),
    "spr": ("SPR", "first steps follow the rewritten prompt"),
    "ona_spr": ("ONA + SPR", "mixed noise and rewritten prompt"),
}
"""Title and one-line meaning of each variant."""


def title_of(variant: str) -> str:
    """The variant's name for people; its own where it has no other."""
    return VARIANTS.get(variant, (variant, ""))[0]
