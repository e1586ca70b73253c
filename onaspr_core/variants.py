"""The four variants: what each is called, and which of the two inputs it improves."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A way to generate: `inverted_noise` is ONA's part, `rewritten_prompt` SPR's."""

    title: str
    meaning: str
    inverted_noise: bool
    rewritten_prompt: bool


VARIANTS: Mapping[str, Variant] = {
    "baseline": Variant("Baseline", "random noise, original prompt", False, False),
    "ona": Variant("ONA", "noise mixed with the neighbour's inverted noise", True, False),
    "spr": Variant("SPR", "first steps follow the rewritten prompt", False, True),
    "ona_spr": Variant("ONA + SPR", "mixed noise and rewritten prompt", True, True),
}
"""All variants by name; the first is what the others are compared with."""

BASELINE = next(iter(VARIANTS))


def title_of(name: str) -> str:
    """The variant's name for people; its own where it has no other."""
    return VARIANTS[name].title if name in VARIANTS else name
