"""What the stage makes, reuses, records and refuses, for all four variants by one path."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from onaspr_core.errors import UserError
from onaspr_core.generation import generate_videos, read_video, video_items
from onaspr_core.inversion import inverted_latent_key
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.generation.inputs import RecordingBackbone, changed


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_makes_a_video_per_prompt_and_a_second_run_loads_nothing(
    variant: str, tiny_workspace: Workspace, experiment: Experiment
) -> None:
    outcome = generate_videos(tiny_workspace, experiment, variant)
    assert (outcome.total, outcome.computed, outcome.failures, len(outcome.models)) == (5, 5, (), 1)
    assert outcome.preview is not None and outcome.preview.png.startswith(b"\x89PNG")
    for item in video_items(tiny_workspace, experiment, variant):
        assert read_video(tiny_workspace, item.key).shape == (3, 16, 16, 3)
    again = generate_videos(Workspace(tiny_workspace.settings), experiment, variant)
    assert (again.computed, again.reused, again.models, again.version) == (0, 5, (), outcome.version)


def test_the_record_holds_everything_that_the_video_was_made_from(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    outcome = generate_videos(tiny_workspace, changed(experiment, eta=math.inf), "ona_spr")
    item = video_items(tiny_workspace, changed(experiment, eta=math.inf), "ona_spr")[1]
    record = tiny_workspace.store.record(VIDEO, item.key)
    assert record["prompt"] == "two dogs" and record["rewritten_prompt"] == "two dogs in the sun"
    assert (record["eta"], record["gamma"], record["rewritten_steps"], record["steps"]) == ("inf", 0.5, 2, 4)
    assert record["neighbour"]["pair_id"] == "pair-00002"
    assert (record["inverted_key"],) == item.inverted_keys
    assert record["backbone_fingerprint"] == "recording" and record["guidance_scale"] == 4.0
    assert record["seed"] == 3 and record["libraries"]["torch"] == torch.__version__
    assert (outcome.facts["eta"], outcome.facts["gamma"], outcome.facts["rewritten_steps"]) == (
        math.inf,
        0.5,
        2,
    )
    plain = generate_videos(tiny_workspace, experiment, "baseline").facts
    assert "eta" not in plain and "gamma" not in plain


def test_a_missing_inverted_latent_fails_its_own_prompt_and_is_named(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    key = inverted_latent_key(tiny_workspace, experiment, "clip-00002")
    for path in Path(tiny_workspace.settings.base, "data", "store").rglob(f"{key}*"):
        path.unlink()
    outcome = generate_videos(tiny_workspace, experiment, "ona")
    assert outcome.computed == 4
    [failure] = outcome.failures
    assert failure.item == "00002"
    assert "pair-00002" in failure.reason and "inverted_latents" in failure.reason
    assert generate_videos(tiny_workspace, experiment, "spr").failures == ()


def test_a_video_with_values_that_are_not_finite_fails_alone(
    tiny_workspace: Workspace,
    experiment: Experiment,
    recording: RecordingBackbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict = recording.predict

    def broken(z: Tensor, level: int, conditioning: list[str], guidance: float | None = None) -> Tensor:
        prediction = predict(z, level, conditioning, guidance)
        prediction[[text == "two dogs" for text in conditioning]] = math.nan
        return prediction

    monkeypatch.setattr(recording, "predict", broken)
    outcome = generate_videos(tiny_workspace, experiment, "baseline")
    assert outcome.computed == 4 and [failure.item for failure in outcome.failures] == ["00002"]


def test_a_video_whose_frames_are_not_finite_fails_alone(
    tiny_workspace: Workspace,
    experiment: Experiment,
    recording: RecordingBackbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode = recording.decode

    def broken(latents: Tensor) -> Tensor:
        video = decode(latents).clone()
        video[0, 0, 0, 0, 0] = math.nan
        return video

    monkeypatch.setattr(recording, "decode", broken)
    e = experiment.changed(sampling={"batch_size": 2})
    outcome = generate_videos(tiny_workspace, e, "baseline")
    assert [failure.item for failure in outcome.failures] == ["00001", "00003", "00005"]
    assert all("not finite" in failure.reason for failure in outcome.failures)
    assert outcome.computed == 2 and len(tiny_workspace.store.keys(VIDEO)) == 2


def test_videos_that_do_not_fit_into_memory_are_made_fewer_at_a_time_and_are_the_same(
    tiny_workspace: Workspace,
    experiment: Experiment,
    recording: RecordingBackbone,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    e = experiment.changed(sampling={**experiment.sampling.model_dump(), "batch_size": 5})
    items = video_items(tiny_workspace, e, "ona_spr")
    assert generate_videos(tiny_workspace, e, "ona_spr").failures == ()
    roomy = [tiny_workspace.store.read(VIDEO, item.key) for item in items]
    for item in items:
        tiny_workspace.store.delete(VIDEO, item.key)
    decode = recording.decode

    def crowded(latents: Tensor) -> Tensor:
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(latents)

    monkeypatch.setattr(recording, "decode", crowded)
    outcome = generate_videos(tiny_workspace, e, "ona_spr")
    assert (outcome.computed, outcome.failures) == (5, ())
    assert [tiny_workspace.store.read(VIDEO, item.key) for item in items] == roomy
    for more, fewer in ((5, 2), (2, 1)):
        assert f"{more} at once do not fit into the GPU's memory; going on with {fewer}" in caplog.text


def test_an_unknown_variant_is_told_which_are_known(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    with pytest.raises(UserError, match="baseline, ona, spr, ona_spr"):
        generate_videos(tiny_workspace, experiment, "both")
