"""The four variants from one path: what enters a video, what its key says, and what is kept and reused."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onaspr_core import generation
from onaspr_core.backbones.registry import open_backbone
from onaspr_core.diffusion.levels import NoiseLevels
from onaspr_core.diffusion.noise import mix_noise, random_noise
from onaspr_core.errors import UserError
from onaspr_core.generation import KIND, generate_videos, read_video, video_items
from onaspr_core.inversion import KIND as INVERTED
from onaspr_core.inversion import inverted_latent_key
from onaspr_core.prompts import Prompt, ingest_prompts
from onaspr_core.retrieval.neighbours import Reference
from onaspr_core.rewriting.stage import Rewrite
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.variants import VARIANTS
from onaspr_core.video import read_frames
from onaspr_core.workspace import Workspace

PROMPTS = {
    "00001": "a red cat",
    "00002": "two dogs",
    "00003": "a blue bird",
    "00004": "old cars",
    "00005": "the sea",
}
UNCHANGED = "00004"
SHAPE = (4, 3, 4, 4)


class RecordingBackbone:
    """A model without weights whose predictions depend on nothing but their own sample, bit for bit."""

    fingerprint = "recording"
    device = "cpu"
    prediction_type = "epsilon"
    video_shape = (3, 16, 16)
    latent_shape = SHAPE

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[str], float | None]] = []
        self.first: dict[str, Tensor] = {}
        self.steps = 0

    def encode_prompts(self, prompts: Any) -> list[str]:
        return list(prompts)

    def encode(self, video: Tensor) -> Tensor:
        raise AssertionError("generation encodes nothing")

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :3].repeat_interleave(4, -1).repeat_interleave(4, -2).tanh()

    def levels(self, steps: int) -> NoiseLevels:
        self.steps = steps
        noise = np.linspace(0.1, 0.9, steps + 1)
        return NoiseLevels(np.sqrt(1 - noise**2), noise, np.arange(steps + 1))

    def predict(
        self, z: Tensor, level_index: int, conditioning: list[str], guidance: float | None = None
    ) -> Tensor:
        self.asked.append((level_index, conditioning, guidance))
        if level_index == self.steps:
            self.first.update(zip(conditioning, z, strict=True))
        return torch.stack([one * (1 / (2 + len(text))) for one, text in zip(z, conditioning, strict=True)])


@pytest.fixture
def experiment(tiny_workspace: Workspace) -> Experiment:
    return tiny_workspace.settings.experiment("tiny")


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> RecordingBackbone:
    backbone = RecordingBackbone()
    monkeypatch.setattr(generation, "open_backbone", lambda workspace, name: backbone)
    return backbone


@pytest.fixture(autouse=True)
def before(tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours, rewrites and inverted noise, as the stages before would have left them."""
    references = {
        prompt: (Reference(f"pair-{prompt}", f"clip-{prompt}", f"caption of {text}", 0.9, 1),)
        for prompt, text in PROMPTS.items()
    }
    rewrites = {
        prompt: Rewrite(text if prompt == UNCHANGED else f"{text} in the sun", text, (), None, (), "test")
        for prompt, text in PROMPTS.items()
    }
    monkeypatch.setattr(generation, "neighbours_of", lambda workspace, e: references)
    monkeypatch.setattr(generation, "rewrites_of", lambda workspace, e: rewrites)
    for prompt in PROMPTS:
        key = inverted_latent_key(tiny_workspace, experiment, f"clip-{prompt}")
        tiny_workspace.store.write_tensors(INVERTED, key, {"noise": inverted_of(prompt)}, {})


def inverted_of(prompt: str) -> np.ndarray:
    return random_noise(SHAPE, seed=99, prompt_id=prompt, sample_index=0).half().numpy()


def random_of(prompt: str) -> Tensor:
    return random_noise(SHAPE, seed=3, prompt_id=prompt, sample_index=0)


def changed(e: Experiment, **changes: Any) -> Experiment:
    names = ("steps", "guidance_scale", "batch_size")
    sampling: dict[str, Any] = {name: changes.pop(name) for name in names if name in changes}
    return e.model_copy(update={**changes, "sampling": e.sampling.model_copy(update=sampling)})


def keys(workspace: Workspace, e: Experiment, variant: str) -> list[str]:
    return [item.key for item in video_items(workspace, e, variant)]


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


@pytest.mark.parametrize(
    ("variant", "eta"), [("baseline", 0.5), ("spr", 0.5), ("ona", 0.0), ("ona", 0.5), ("ona_spr", 2.0)]
)
def test_the_first_latent_is_equation_four_of_the_prompts_own_noise(
    variant: str, eta: float, tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, changed(experiment, eta=eta), variant)
    weight = eta if VARIANTS[variant].inverted_noise else 0.0
    for prompt, text in PROMPTS.items():
        seen = recording.first.get(text, recording.first.get(f"{text} in the sun"))
        expected = mix_noise(random_of(prompt), torch.from_numpy(inverted_of(prompt)).float(), weight)
        assert seen is not None and torch.equal(seen, expected)


def test_all_variants_start_from_one_random_noise_and_infinite_eta_from_none(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, experiment, "baseline")
    assert torch.equal(recording.first["two dogs"], random_of("00002"))
    generate_videos(tiny_workspace, changed(experiment, eta=math.inf), "ona")
    assert torch.equal(recording.first["two dogs"], torch.from_numpy(inverted_of("00002")).float())


@pytest.mark.parametrize(("gamma", "m"), [(0.0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.99, 3), (1.0, 4)])
def test_the_conditioning_switches_after_exactly_m_steps(
    gamma: float, m: int, tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, changed(experiment, gamma=gamma, batch_size=5), "spr")
    assert [level for level, _, _ in recording.asked] == [4, 3, 2, 1]
    rewritten = ["in the sun" in conditioning[0] for _, conditioning, _ in recording.asked]
    assert rewritten == [True] * m + [False] * (4 - m)
    assert {guidance for _, _, guidance in recording.asked} == {4.0}


def test_a_prompt_whose_rewrite_fell_back_sees_its_own_prompt_among_others_that_are_rewritten(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, changed(experiment, batch_size=5), "spr")
    assert recording.asked[0][1] == [
        text if prompt == UNCHANGED else f"{text} in the sun" for prompt, text in PROMPTS.items()
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_size_and_order_change_no_bit(
    variant: str, tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    def videos(root: str, batch_size: int, reverse: bool) -> dict[str, bytes]:
        store = tiny_workspace.settings.store.model_copy(update={"root": root})
        workspace = Workspace(tiny_workspace.settings.model_copy(update={"store": store}))
        for prompt in PROMPTS:
            key = inverted_latent_key(workspace, experiment, f"clip-{prompt}")
            workspace.store.write_tensors(INVERTED, key, {"noise": inverted_of(prompt)}, {})
        items = video_items(tiny_workspace, experiment, variant)[:: -1 if reverse else 1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generation, "video_items", lambda *_: items)
            generate_videos(workspace, changed(experiment, batch_size=batch_size), variant)
        return {item.key: workspace.store.read(KIND, item.key) for item in items}

    assert videos("one", 1, False) == videos("five", 5, False) == videos("backwards", 3, True)


def test_a_real_model_gives_a_sample_the_same_latent_alone_and_in_a_batch(tiny_workspace: Workspace) -> None:
    backbone = open_backbone(tiny_workspace, "tiny")
    noise, texts = torch.stack([random_of(prompt) for prompt in PROMPTS]), list(PROMPTS.values())

    def sampled(start: int, end: int) -> Tensor:
        part = texts[start:end]
        enriched = [f"{text} sun" for text in part]
        return sample_latents(
            backbone, noise[start:end], part, steps=4, guidance=4.0, rewritten=enriched, rewritten_steps=2
        )

    together = sampled(0, 5)
    apart = torch.cat([sampled(i, i + 1) for i in range(5)])
    assert float((together - apart).abs().max()) <= 1e-5 * max(1.0, float(together.abs().max()))


def test_eta_zero_and_gamma_zero_are_the_baselines_own_videos(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    plain = keys(tiny_workspace, experiment, "baseline")
    assert len(set(plain)) == 5
    assert keys(tiny_workspace, changed(experiment, eta=0.0), "ona") == plain
    assert keys(tiny_workspace, changed(experiment, gamma=0.0), "spr") == plain
    assert keys(tiny_workspace, changed(experiment, gamma=0.1), "spr") == plain
    assert keys(tiny_workspace, changed(experiment, eta=0.0, gamma=0.0), "ona_spr") == plain
    assert keys(tiny_workspace, changed(experiment, eta=0.0), "ona_spr") == keys(
        tiny_workspace, experiment, "spr"
    )
    assert keys(tiny_workspace, changed(experiment, gamma=0.0), "ona_spr") == keys(
        tiny_workspace, experiment, "ona"
    )


def test_baseline_follows_neither_eta_nor_gamma_ona_eta_alone_and_spr_gamma_alone(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    eta, gamma = changed(experiment, eta=1.0), changed(experiment, gamma=1.0)
    moved = {
        variant: (
            keys(tiny_workspace, eta, variant) != keys(tiny_workspace, experiment, variant),
            keys(tiny_workspace, gamma, variant) != keys(tiny_workspace, experiment, variant),
        )
        for variant in VARIANTS
    }
    assert moved == {
        "baseline": (False, False),
        "ona": (True, False),
        "spr": (False, True),
        "ona_spr": (True, True),
    }


def test_a_gamma_with_an_equal_step_count_recomputes_nothing(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, experiment, "spr")
    outcome = generate_videos(tiny_workspace, changed(experiment, gamma=0.6), "spr")
    assert (outcome.computed, outcome.reused) == (0, 5)


def test_a_rewrite_that_fell_back_reuses_the_baselines_video(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    generate_videos(tiny_workspace, experiment, "baseline")
    outcome = generate_videos(tiny_workspace, experiment, "spr")
    assert (outcome.computed, outcome.reused) == (4, 1)
    assert outcome.facts["prompts_without_rewrite"] == 1


def test_keys_follow_everything_that_enters_a_video(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    first = keys(tiny_workspace, experiment, "baseline")
    for change in ({"steps": 5}, {"guidance_scale": 3.0}, {"seed": 4}):
        assert not set(first) & set(keys(tiny_workspace, changed(experiment, **change), "baseline"))
    assert keys(tiny_workspace, changed(experiment, batch_size=9), "baseline") == first
    endless = changed(experiment, eta=math.inf)
    assert keys(tiny_workspace, changed(endless, seed=4), "ona") == keys(tiny_workspace, endless, "ona")
    assert keys(tiny_workspace, changed(experiment, seed=4), "ona") != keys(tiny_workspace, experiment, "ona")


def test_the_same_text_under_two_ids_is_two_videos(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = [Prompt("00001", "a red cat"), Prompt("00002", "a red cat")]
    monkeypatch.setattr(generation, "load_prompts", lambda workspace, e: twins)
    assert len(set(keys(tiny_workspace, experiment, "baseline"))) == 2


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


def test_the_record_holds_everything_that_the_video_was_made_from(
    tiny_workspace: Workspace, experiment: Experiment, recording: RecordingBackbone
) -> None:
    outcome = generate_videos(tiny_workspace, changed(experiment, eta=math.inf), "ona_spr")
    item = video_items(tiny_workspace, changed(experiment, eta=math.inf), "ona_spr")[1]
    record = tiny_workspace.store.record(KIND, item.key)
    assert record["prompt"] == "two dogs" and record["rewritten_prompt"] == "two dogs in the sun"
    assert (record["eta"], record["gamma"], record["rewritten_steps"], record["steps"]) == ("inf", 0.5, 2, 4)
    assert record["neighbour"]["pair_id"] == "pair-00002"
    assert record["inverted_key"] == item.inverted_key
    assert record["backbone_fingerprint"] == "recording" and record["guidance_scale"] == 4.0
    assert record["seed"] == 3 and record["libraries"]["torch"] == torch.__version__
    assert (outcome.facts["eta"], outcome.facts["gamma"], outcome.facts["rewritten_steps"]) == (
        math.inf,
        0.5,
        2,
    )
    plain = generate_videos(tiny_workspace, experiment, "baseline").facts
    assert "eta" not in plain and "gamma" not in plain


def test_the_stored_video_is_the_decoded_latent(tiny_workspace: Workspace, experiment: Experiment) -> None:
    generate_videos(tiny_workspace, experiment, "baseline")
    backbone = open_backbone(tiny_workspace, "tiny")
    latents = sample_latents(backbone, random_of("00001")[None], ["a red cat"], steps=4, guidance=4.0)
    expected = ((backbone.decode(latents)[0] + 1) * 127.5).permute(1, 2, 3, 0).numpy()
    key = keys(tiny_workspace, experiment, "baseline")[0]
    stored = read_frames(io.BytesIO(tiny_workspace.store.read(KIND, key)))
    assert np.abs(stored.astype(float).mean((1, 2)) - expected.mean((1, 2))).max() < 6


def test_an_unknown_variant_is_told_which_are_known(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    with pytest.raises(UserError, match="baseline, ona, spr, ona_spr"):
        generate_videos(tiny_workspace, experiment, "both")


@pytest.mark.parametrize(("gamma_steps", "said"), [(0, "a red cat"), (4, "a red cat in the sun")])
def test_at_the_ends_of_gamma_the_latents_are_those_of_one_prompt_bit_for_bit(
    tiny_workspace: Workspace, gamma_steps: int, said: str
) -> None:
    backbone = open_backbone(tiny_workspace, "tiny")
    noise, prompt, rewritten = random_of("00001")[None], ["a red cat"], ["a red cat in the sun"]
    hybrid = sample_latents(
        backbone, noise, prompt, steps=4, guidance=4.0, rewritten=rewritten, rewritten_steps=gamma_steps
    )
    assert torch.equal(hybrid, sample_latents(backbone, noise, [said], steps=4, guidance=4.0))
    half = sample_latents(
        backbone, noise, prompt, steps=4, guidance=4.0, rewritten=rewritten, rewritten_steps=2
    )
    assert not torch.equal(half, hybrid)


GENERATE = """
import sys, torch
from onaspr_core.generation import generate_videos
from onaspr_core.settings import load_settings
from onaspr_core.workspace import Workspace

torch.set_num_threads(1)
workspace = Workspace(load_settings(sys.argv[1]))
generate_videos(workspace, workspace.settings.experiment("tiny"), "baseline")
"""


def test_after_a_kill_in_the_middle_the_next_run_makes_what_is_missing_and_ends_byte_for_byte_the_same(
    tiny_workspace: Workspace, experiment: Experiment
) -> None:
    base = tiny_workspace.settings.base
    text = (base / "settings.toml").read_text()
    text = text.replace("steps = 4", "steps = 30").replace("batch_size = 2", "batch_size = 1")
    stores = {}
    for name in ("killed", "undisturbed"):
        settings = base / f"{name}.toml"
        settings.write_text(text + f'[store]\nroot = "{name}"\n')
        workspace = Workspace(load_settings(settings))
        ingest_prompts(workspace, workspace.settings.experiment("tiny"))
        stores[name] = workspace.store
    videos = base / "killed" / "artifacts" / KIND
    process = subprocess.Popen([sys.executable, "-c", GENERATE, str(base / "killed.toml")])
    deadline = time.monotonic() + 200
    while len(list(videos.rglob("*.record.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = {path: path.stat().st_mtime_ns for path in videos.rglob("*.record.json")}
    assert 2 <= len(made) < 5
    for name in stores:
        subprocess.run([sys.executable, "-c", GENERATE, str(base / f"{name}.toml")], check=True)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    items = video_items(workspace, workspace.settings.experiment("tiny"), "baseline")
    assert len(items) == 5
    for item in items:
        assert stores["killed"].read(KIND, item.key) == stores["undisturbed"].read(KIND, item.key)
