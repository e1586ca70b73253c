"""Clips to inverted noise: what is made, stored, recorded and reused, with a real tiny model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from onaspr_core import inversion
from onaspr_core.backbones.registry import open_backbone
from onaspr_core.errors import UserError
from onaspr_core.inversion import clip_items, invert_clips, inverted_latent_key, read_inverted
from onaspr_core.media.contact_sheet import contact_sheet
from onaspr_core.pool.manifest import Pair
from onaspr_core.pool.media import Media
from onaspr_core.previews import noise_figure
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.sampling import invert_latents, sample_latents
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace

NEIGHBOURS = {"00001": "a", "00002": "b", "00003": "a", "00004": "c", "00005": "d"}


def clip_of(name: str) -> np.ndarray:
    """Smooth random frames; clip "b" has only two of them, and "d" is wider than high."""
    generator = np.random.default_rng(ord(name))
    frames, width = (2 if name == "b" else 4), (24 if name == "d" else 16)
    start = generator.integers(0, 200, (1, 1, 1, 3))
    return (start + np.arange(frames)[:, None, None, None] * 10 + np.zeros((1, 16, width, 1))).astype(
        np.uint8
    )


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    references = {
        prompt: (Neighbour(f"pair-{name}", f"clip-{name}", f"caption {name}", 0.9, 1),)
        for prompt, name in NEIGHBOURS.items()
    }
    monkeypatch.setattr(inversion, "noise_neighbours_of", lambda workspace, e: references)
    monkeypatch.setattr(inversion, "read_clip", lambda workspace, key: clip_of(key[-1]))
    monkeypatch.setattr(inversion, "read_clip_at", lambda workspace, key, place: clip_of(key[-1]))
    pairs = [
        Pair("pool", f"pair-{n}", f"caption {n}", i, Media(n), f"clip-{n}") for i, n in enumerate("abcdef")
    ]
    monkeypatch.setattr(inversion, "pool_pairs", lambda workspace, name: pairs)


def with_inversion(e: Experiment, **changes: Any) -> Experiment:
    return e.model_copy(update={"inversion": e.inversion.model_copy(update=changes)})


def test_each_neighbour_is_inverted_once_and_a_second_run_loads_nothing(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    first = invert_clips(tiny_workspace, experiment)
    assert (first.total, first.computed, first.reused, first.failures) == (4, 4, 0, ())
    assert len(first.models) == 1 and first.facts["device"] == "cpu"
    assert first.preview is not None and first.preview.png.startswith(b"\x89PNG")
    again = invert_clips(Workspace(tiny_workspace.settings), experiment)
    assert (again.total, again.computed, again.reused, again.models) == (4, 0, 4, ())
    assert again.version == first.version


def test_what_is_stored_is_the_inversion_of_the_encoded_clip_in_half_precision(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    invert_clips(tiny_workspace, experiment)
    backbone = open_backbone(tiny_workspace, "tiny")
    video = torch.from_numpy(clip_of("a")[:3]).permute(3, 0, 1, 2)[None] / 127.5 - 1
    expected = invert_latents(backbone, backbone.encode(video), steps=4)[0]
    key = inverted_latent_key(tiny_workspace, experiment, "clip-a")
    assert tiny_workspace.store.read_tensors(INVERTED_LATENT, key)["noise"].dtype == np.float16
    found = read_inverted(tiny_workspace, key)
    assert found.dtype == torch.float32 and found.shape == backbone.latent_shape
    assert torch.allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_inversion_asks_with_the_empty_prompt_and_without_guidance(
    tiny_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone: Any = open_backbone(tiny_workspace, "tiny")
    prompts: list[list[str]] = []
    guidances: list[float | None] = []
    encode_prompts, predict = backbone.encode_prompts, backbone.predict

    def encoding(texts: list[str]) -> Any:
        prompts.append(texts)
        return encode_prompts(texts)

    def predicting(z: torch.Tensor, level: int, given: Any, guidance: float | None = None) -> torch.Tensor:
        guidances.append(guidance)
        found: torch.Tensor = predict(z, level, given, guidance)
        return found

    monkeypatch.setattr(backbone, "encode_prompts", encoding)
    monkeypatch.setattr(backbone, "predict", predicting)
    invert_latents(backbone, torch.zeros(2, *backbone.latent_shape), steps=3, fixed_point_iterations=1)
    assert prompts == [["", ""]]
    assert guidances == [None] * 6


def test_the_record_says_what_the_noise_was_made_from_and_what_it_is_like(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    invert_clips(tiny_workspace, experiment)
    record = tiny_workspace.store.record(
        INVERTED_LATENT, inverted_latent_key(tiny_workspace, experiment, "clip-b")
    )
    assert record["clip_key"] == "clip-b" and record["pair_id"] == "pair-b"
    assert record["repeated_frames"] == 1 and record["steps"] == 4
    assert record["libraries"]["torch"] == torch.__version__
    assert set(record["diagnostics"]) >= {"mean", "variance", "kurtosis"}
    assert "eta" not in record
    other = tiny_workspace.store.record(
        INVERTED_LATENT, inverted_latent_key(tiny_workspace, experiment, "clip-a")
    )
    assert other["repeated_frames"] == 0


def test_the_round_trip_error_is_that_of_denoising_what_is_stored(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    outcome = invert_clips(tiny_workspace, experiment)
    backbone = open_backbone(tiny_workspace, "tiny")
    key = inverted_latent_key(tiny_workspace, experiment, "clip-a")
    clean = backbone.encode(torch.from_numpy(clip_of("a")[:3]).permute(3, 0, 1, 2)[None] / 127.5 - 1)
    back = sample_latents(backbone, read_inverted(tiny_workspace, key)[None], [""], steps=4, guidance=1.0)
    expected = float((back - clean).norm() / clean.norm())
    assert tiny_workspace.store.record(INVERTED_LATENT, key)["round_trip_error"] == pytest.approx(
        expected, rel=1e-3
    )
    assert outcome.facts["round_trip_error_mean"] > 0


def test_the_round_trip_can_be_left_out_without_another_key(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    unmeasured = with_inversion(experiment, measure_round_trip=False)
    outcome = invert_clips(tiny_workspace, unmeasured)
    key = inverted_latent_key(tiny_workspace, experiment, "clip-a")
    assert tiny_workspace.store.record(INVERTED_LATENT, key)["round_trip_error"] is None
    assert "round_trip_error_mean" not in outcome.facts
    assert invert_clips(tiny_workspace, experiment).computed == 0


def test_batches_of_any_size_give_the_same_noise(tiny_workspace: Workspace, experiment: Experiment) -> None:
    found = []
    for size, root in ((1, "one"), (4, "four")):
        settings = tiny_workspace.settings.model_copy(
            update={"store": tiny_workspace.settings.store.model_copy(update={"root": root})}
        )
        workspace = Workspace(settings)
        invert_clips(workspace, with_inversion(experiment, batch_size=size))
        found.append([read_inverted(workspace, item.key) for item in clip_items(workspace, experiment)])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=2e-3, atol=1e-3)


def test_one_clip_that_cannot_be_read_does_not_spoil_its_batch(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(workspace: Workspace, key: str, place: object) -> np.ndarray:
        if key == "clip-b":
            raise UserError("truncated")
        return clip_of(key[-1])

    monkeypatch.setattr(inversion, "read_clip_at", read)
    outcome = invert_clips(tiny_workspace, experiment)
    assert outcome.computed == 3
    assert [(failure.item, "truncated" in failure.reason) for failure in outcome.failures] == [
        ("pair-b", True)
    ]


def test_noise_that_is_not_finite_is_a_failure_and_is_not_stored(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone: Any = open_backbone(tiny_workspace, "tiny")
    encode: Callable[[torch.Tensor], torch.Tensor] = backbone.encode

    def broken(video: torch.Tensor) -> torch.Tensor:
        latents = encode(video)
        latents[0] = float("nan")
        return latents

    monkeypatch.setattr(backbone, "encode", broken)
    outcome = invert_clips(tiny_workspace, experiment)
    assert {failure.item for failure in outcome.failures} == {"pair-a", "pair-c"}
    assert all("not finite" in failure.reason for failure in outcome.failures)
    assert outcome.computed == 2
    assert not tiny_workspace.store.has(
        INVERTED_LATENT, inverted_latent_key(tiny_workspace, experiment, "clip-a")
    )


def test_clips_that_do_not_fit_into_memory_are_inverted_fewer_at_a_time(
    tiny_workspace: Workspace,
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    backbone: Any = open_backbone(tiny_workspace, "tiny")
    predict = backbone.predict

    def crowded(z: torch.Tensor, *words: Any) -> torch.Tensor:
        if len(z) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        found: torch.Tensor = predict(z, *words)
        return found

    monkeypatch.setattr(backbone, "predict", crowded)
    outcome = invert_clips(tiny_workspace, with_inversion(experiment, batch_size=4))
    assert (outcome.computed, outcome.failures) == (4, ())
    for more, fewer in ((4, 2), (2, 1)):
        assert f"{more} at once do not fit into the GPU's memory; going on with {fewer}" in caplog.text


def test_the_scope_pool_inverts_every_clip_and_reuses_those_of_the_prompts(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    invert_clips(tiny_workspace, experiment)
    outcome = invert_clips(tiny_workspace, with_inversion(experiment, scope="pool"))
    assert (outcome.total, outcome.computed, outcome.reused) == (6, 2, 4)


def test_the_key_follows_clip_steps_iterations_and_model_and_neither_eta_nor_batch(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    key = inverted_latent_key(tiny_workspace, experiment, "clip-a")
    assert inverted_latent_key(tiny_workspace, experiment, "clip-b") != key
    steps = experiment.model_copy(update={"sampling": experiment.sampling.model_copy(update={"steps": 5})})
    assert inverted_latent_key(tiny_workspace, steps, "clip-a") != key
    assert (
        inverted_latent_key(tiny_workspace, with_inversion(experiment, fixed_point_iterations=1), "clip-a")
        != key
    )
    unmoved = with_inversion(experiment.model_copy(update={"eta": 2.0, "gamma": 1.0}), batch_size=7)
    assert inverted_latent_key(tiny_workspace, unmoved, "clip-a") == key
    model = tiny_workspace.settings.backbones["tiny"].model_copy(update={"dtype": "bfloat16"})
    settings = tiny_workspace.settings.model_copy(update={"backbones": {"tiny": model}})
    assert inverted_latent_key(Workspace(settings), experiment, "clip-a") != key


def test_fixed_point_iterations_lower_the_recorded_error(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    explicit = invert_clips(tiny_workspace, experiment).facts["round_trip_error_mean"]
    refined = invert_clips(tiny_workspace, with_inversion(experiment, fixed_point_iterations=4))
    assert refined.computed == 4
    assert refined.facts["round_trip_error_mean"] < explicit


def test_reading_noise_that_was_never_made_says_so(tiny_workspace: Workspace) -> None:
    with pytest.raises(UserError, match="not in the store"):
        read_inverted(tiny_workspace, "0" * 40)


def test_a_model_of_images_shows_the_frames_that_it_inverted(
    image_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[np.ndarray] = []

    def sheet(clips: list[np.ndarray], labels: list[str]) -> bytes:
        shown.extend(clips)
        return contact_sheet(clips, labels)

    monkeypatch.setattr(noise_figure, "contact_sheet", sheet)
    outcome = invert_clips(image_workspace, image_workspace.settings.experiment("tiny"))
    assert outcome.failures == () and outcome.preview is not None
    assert [len(frames) for frames in shown] == [1, 1, 1, 1]
    assert (shown[0] == clip_of("a")[:1]).all()
