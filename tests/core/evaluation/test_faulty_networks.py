"""Networks that give NaN or do not fit into memory, and a score that is no number: named, the others kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from onaspr_core.compute import Outcome
from onaspr_core.evaluation import encoding, extractors
from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.extractors import Arrays, FeatureExtractor, FeatureSet
from onaspr_core.evaluation.features import reference_features
from onaspr_core.evaluation.scores import score_experiment, scores_of
from onaspr_core.evaluation.scoring import Measured, ScoreItem, Scorer
from onaspr_core.media.video import Frames
from onaspr_core.stored_kinds import FEATURES

Look = Callable[[FeatureSet, Sequence[Frames], list[Arrays]], None]


def look_at_features(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand every network's videos and features to a function, which may change or refuse them."""
    load = extractors.load

    def loaded(feature_set: FeatureSet) -> FeatureExtractor:
        network: Any = load(feature_set)
        features = network.features

        def looked_at(videos: Sequence[Frames]) -> list[Arrays]:
            found: list[Arrays] = features(videos)
            look(feature_set, videos, found)
            return found

        monkeypatch.setattr(network, "features", looked_at, raising=False)
        return network  # type: ignore[no-any-return]

    monkeypatch.setattr(encoding, "load", loaded)


def references(bench: Any) -> Outcome:
    ingest_benchmark(bench.workspace(), bench.experiment())
    return reference_features(bench.workspace(), bench.experiment())


def test_a_video_that_a_network_gives_nan_for_is_named_and_the_others_are_kept(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(feature_set: FeatureSet, _: Sequence[Frames], found: list[Arrays]) -> None:
        if feature_set.role == "image classifier":
            found[0] = {name: np.full_like(array, np.nan) for name, array in found[0].items()}

    with monkeypatch.context() as patch:
        look_at_features(spoil, patch)
        outcome = references(bench)
    assert [failure.item for failure in outcome.failures] == ["r0", "r4"], "the first of each batch of four"
    assert all("features that are not finite" in failure.reason for failure in outcome.failures)
    assert outcome.computed == outcome.total - 2
    store = bench.workspace().store
    assert all(
        np.isfinite(store.read_tensors(FEATURES, key)["features"]).all() for key in store.keys(FEATURES)
    )
    assert (references(bench).computed, references(bench).computed) == (2, 0)


def test_videos_that_do_not_fit_into_memory_are_shown_to_networks_fewer_at_a_time(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crowded(_: FeatureSet, videos: Sequence[Frames], __: list[Arrays]) -> None:
        if len(videos) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    look_at_features(crowded, monkeypatch)
    outcome = references(bench)
    assert (outcome.computed, outcome.failures) == (18, ())
    assert "features: 12 at once do not fit into the GPU's memory; going on with 6" in caplog.text


def test_a_score_that_is_no_number_is_named_and_the_others_are_kept(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Scorer.measure

    def spoilt(scorer: Scorer, item: ScoreItem) -> Measured:
        found = measure(scorer, item)
        return replace(found, value=float("nan")) if item.name == "ona FID" else found

    ingest_benchmark(bench.workspace(), bench.experiment())
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "measure", spoilt)
        broken = score_experiment(bench.workspace(), bench.experiment())
    assert [failure.item for failure in broken.failures] == ["ona FID"]
    table: Any = scores_of(bench.workspace(), bench.experiment())
    assert len(table.scores) == 31
    mended = score_experiment(bench.workspace(), bench.experiment())
    assert mended.failures == () and mended.version != broken.version
