"""What the answer holds, for every variant."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from onaspr_core.generation import generate_videos
from onaspr_core.inversion import invert_clips
from onaspr_core.media.video import read_frames
from onaspr_core.provenance.__main__ import as_text
from onaspr_core.provenance.answer import provenance_of
from onaspr_core.retrieval.neighbours import find_neighbours, neighbours_of, noise_neighbours_of
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.trial import Trial, generate_trial
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.provenance.world import (
    ANSWERS,
    CAPTIONS,
    FELL_BACK,
    NEIGHBOURS,
    PROMPTS,
    key_of,
    reopened,
)


@pytest.mark.parametrize("prompt_id", PROMPTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_answered_for_with_what_entered_it_and_nothing_else(
    variant: str, prompt_id: str, world: Workspace
) -> None:
    answer = provenance_of(world, f"tiny/{variant}/{prompt_id}")
    inverted, rewritten = VARIANTS[variant].inverted_noise, VARIANTS[variant].rewritten_prompt
    fell_back = rewritten and prompt_id == FELL_BACK
    amounts_to = {"spr": "baseline", "ona_spr": "ona"}[variant] if fell_back else variant
    assert answer.video["variant"] == amounts_to
    assert answer.video["made_as"] == f"tiny/{amounts_to}/{prompt_id}"
    assert answer.prompt == {"id": prompt_id, "text": PROMPTS[prompt_id]}
    assert answer.noise["eta"] == (0.5 if inverted else 0)
    assert answer.noise["random"] == {"seed": 3, "sample_index": 0}
    assert (answer.noise["neighbour"] is not None, answer.noise["inverted"] is not None) == (
        inverted,
        inverted,
    )
    assert (answer.rewriting is not None) == rewritten
    if answer.rewriting is not None:
        drawn = ANSWERS[prompt_id]
        assert answer.rewriting["text"] == (None if fell_back else drawn[-1])
        assert answer.rewriting["steps"] == (0 if fell_back else 2)
        assert answer.rewriting["fallback_reason"] == ("lost_content" if fell_back else None)
        assert answer.rewriting["answers"] == len(drawn)
        assert answer.rewriting["model"] == "some-model"
    assert (answer.sampling["steps"], answer.sampling["guidance_scale"]) == (4, 4.0)


def test_the_noise_is_traced_to_the_source_video_and_its_address(world: Workspace) -> None:
    noise = provenance_of(world, "tiny/ona/p2").noise
    [best, *_] = neighbours_of(world, world.settings.experiment("tiny"))["p2"]
    neighbour = noise["neighbour"]
    assert (neighbour["pool"], neighbour["pair_id"]) == ("clips", NEIGHBOURS["p2"])
    assert neighbour["caption"] == CAPTIONS[NEIGHBOURS["p2"]]
    assert neighbour["similarity"] == best.similarity and neighbour["clip_key"] == best.clip_key
    assert neighbour["source_row"]["contentUrl"] == f"https://clips.test/{NEIGHBOURS['p2']}"
    assert len(read_frames(neighbour["source"])) == 6
    assert neighbour["clip_frames"] == 3 and neighbour["cut"]["frame_stride"] == 2
    assert neighbour["embedding_model"] == world.settings.embedding.model
    inverted = noise["inverted"]
    stored_noise = world.store.read_tensors(INVERTED_LATENT, inverted["key"])["noise"].astype(float)
    assert inverted["diagnostics"]["variance"] == pytest.approx(stored_noise.var(), rel=1e-3)
    assert inverted["steps"] == 4 and np.isfinite(inverted["round_trip_error"])


def test_blended_noise_is_traced_to_each_of_its_clips(world: Workspace) -> None:
    changed = reopened(world, ("^sampling = ", "inversion = { neighbours = 2 }\nsampling = "))
    e = changed.settings.experiment("tiny")
    for stage in (find_neighbours, invert_clips, partial(generate_videos, variant="ona")):
        assert not stage(changed, e).failures
    noise = provenance_of(changed, "tiny/ona/p2").noise
    best, second = noise_neighbours_of(changed, e)["p2"]
    assert (noise["neighbour"]["pair_id"], noise["neighbour_2"]["pair_id"]) == (best.pair_id, second.pair_id)
    assert noise["neighbour_2"]["source"].endswith(f"{second.pair_id}.mp4")
    assert noise["inverted_2"]["key"] != noise["inverted"]["key"]
    assert np.isfinite(noise["inverted_2"]["round_trip_error"])
    assert "neighbour 2" in as_text(provenance_of(changed, "tiny/ona/p2"))


def test_options_of_inversion_are_told_and_those_of_the_paper_are_not(world: Workspace) -> None:
    names = {"whitening", "forward_diffusion_steps", "diagnostics_before_whitening"}
    assert not names & set(provenance_of(world, "tiny/ona/p2").noise["inverted"])
    options = 'inversion = { whitening = "spatial", forward_diffusion_steps = 2 }\nsampling = '
    changed = reopened(world, ("^sampling = ", options))
    e = changed.settings.experiment("tiny")
    for stage in (invert_clips, partial(generate_videos, variant="ona")):
        assert not stage(changed, e).failures
    inverted = provenance_of(changed, "tiny/ona/p2").noise["inverted"]
    assert (inverted["whitening"], inverted["forward_diffusion_steps"]) == ("spatial", 2)
    assert names <= set(inverted)


def test_a_gate_is_told_and_a_shut_one_is_why_a_video_is_the_baselines(world: Workspace) -> None:
    gate = "inversion = {{ similarity_gate = [{}, {}] }}\nsampling = "
    cosines = {
        id_: found[0].similarity
        for id_, found in neighbours_of(world, world.settings.experiment("tiny")).items()
    }
    least = min(cosines, key=lambda id_: cosines[id_])
    low = cosines[least] + 1e-3
    changed = reopened(world, ("^sampling = ", gate.format(low, 1.0)))
    generate_videos(changed, changed.settings.experiment("tiny"), "ona")
    shut = provenance_of(changed, f"tiny/ona/{least}")
    assert (shut.video["variant"], shut.noise["eta"], shut.noise["neighbour"]) == ("baseline", 0, None)
    assert set(shut.video["serves"]) >= {f"tiny/baseline/{least}", f"tiny/ona/{least}"}
    why = f"because the gate shuts at its neighbour's similarity of {cosines[least]:.3f}."
    assert f"tiny/ona/{least} uses it {why}" in shut.notes
    best = max(cosines, key=lambda id_: cosines[id_])
    half = provenance_of(changed, f"tiny/ona/{best}").noise
    assert half["eta"] == pytest.approx(0.5 * (cosines[best] - low) / (1 - low), abs=1e-5)
    assert (half["eta_before_gate"], half["similarity_gate"]) == (0.5, [low, 1.0])


def test_the_rewrite_is_traced_to_its_references_and_to_how_it_was_asked_for(
    world: Workspace,
) -> None:
    rewriting = provenance_of(world, "tiny/ona_spr/p2").rewriting
    assert rewriting is not None
    references = neighbours_of(world, world.settings.experiment("tiny"))["p2"]
    assert rewriting["references"] == [one.caption for one in references] and len(references) == 2
    assert (rewriting["answers"], rewriting["refused"]) == (2, {"lost_content": 1})
    assert (rewriting["gamma"], rewriting["steps"]) == (0.5, 2)
    asked = rewriting["asked_with"]
    assert (asked["retries"], asked["max_words"], asked["minimum_similarity"]) == (1, 20, 0.65)


def test_the_software_is_named_so_that_it_can_be_had_again(world: Workspace) -> None:
    software = provenance_of(world, "tiny/baseline/p1").software
    model = world.settings.backbones["tiny"]
    assert (software["backbone"], software["model"]) == ("tiny", model.path)
    assert (software["family"], software["dtype"], software["device"]) == ("modelscope", "float32", "cpu")
    assert software["libraries"]["torch"] == torch.__version__ and len(software["fingerprint"]) == 40


def test_a_prompt_that_fell_back_is_answered_for_with_its_reason_though_the_baseline_made_the_video(
    world: Workspace,
) -> None:
    by_key = provenance_of(world, key_of(world, "spr", FELL_BACK))
    assert by_key.rewriting is None
    used = f"tiny/spr/{FELL_BACK} uses it because its rewrite fell back (lost_content)."
    assert by_key.notes == (used,)
    by_name = provenance_of(world, f"tiny/spr/{FELL_BACK}")
    assert by_name.rewriting is not None and by_name.rewriting["refused"] == {"lost_content": 2}
    assert by_name.notes == (
        used,
        f"It was first made as tiny/baseline/{FELL_BACK}, and its record is of that.",
    )


def test_a_prompt_that_fell_back_is_answered_for_by_key_where_its_own_variant_made_the_video(
    world: Workspace,
) -> None:
    changed = reopened(world, ("^seed = 3", "seed = 4"))
    generate_videos(changed, changed.settings.experiment("tiny"), "spr")
    answer = provenance_of(changed, key_of(changed, "baseline", FELL_BACK))
    assert answer.video["made_as"] == f"tiny/spr/{FELL_BACK}" and answer.video["variant"] == "baseline"
    assert answer.rewriting is not None
    assert (answer.rewriting["text"], answer.rewriting["fallback_reason"]) == (None, "lost_content")
    assert answer.rewriting["answers"] == 2


def test_a_trials_video_is_told_as_one(world: Workspace) -> None:
    e = world.settings.experiment("tiny")
    tried = generate_trial(world, e, "ona", Trial(eta=0.25, seed=1234567))
    assert tried.computed == len(PROMPTS)
    videos = sorted(Path(tried.facts["videos_path"]).glob("*.mp4"))
    assert {provenance_of(world, str(video)).video["made_as"] for video in videos} == {
        f"tiny/ona/{prompt}, a trial with eta=0.25 seed=1234567" for prompt in PROMPTS
    }


def test_pure_inverted_noise_has_no_random_part(world: Workspace) -> None:
    endless = reopened(world, ("^eta = .*", "eta = inf"))
    generate_videos(endless, endless.settings.experiment("tiny"), "ona")
    answer = provenance_of(endless, "tiny/ona/p1")
    assert (answer.noise["eta"], answer.noise["random"]) == ("inf", None)
    assert answer.video["serves"] == ["tiny/ona/p1"]


def test_an_answer_loads_no_model_and_writes_nothing(world: Workspace) -> None:
    root = world.settings.base / "data"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    provenance_of(world, world.store.url(VIDEO, key_of(world, "ona_spr", "p1")))
    assert world.models.loaded == ()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
