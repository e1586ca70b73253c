"""A workspace without a pool, whose references a test decides, and an embedder without a model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onaspr_core.settings import (
    EvaluationSettings,
    Experiment,
    FeatureSettings,
    ReferenceSettings,
    RewriterSettings,
)
from onaspr_core.workspace import Workspace


class BagOfWords:
    """Stands in for a sentence embedder: sentences with words in common are alike."""

    fingerprint = "bag"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), 256))
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", "").split():
                rows[row, hashlib.sha256(word.encode()).digest()[0]] += 1
        unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


@dataclass
class Bench:
    """A workspace whose prompts have references that a test may change."""

    workspace: Workspace
    captions: dict[str, list[str]]

    def experiment(self, k: int = 2, **rewriter: Any) -> Experiment:
        features = FeatureSettings(label="none", image_classifier="", image_text="", video_classifier="")
        options = {"model": "some-model", "timeout_seconds": 5.0, **rewriter}
        return Experiment(
            name="e",
            pool="none",
            backbone="none",
            prompts="prompts.csv",
            eta=0.5,
            gamma=0.1,
            references=ReferenceSettings(k=k),
            rewriter=RewriterSettings(**options),
            evaluation=EvaluationSettings(features=features),
        )
