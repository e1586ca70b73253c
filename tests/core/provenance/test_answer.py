"""What the answer holds, for every variant; and that it holds when settings, pool and store have changed."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from onaspr_core.generation import KIND, generate_videos
from onaspr_core.inversion import KIND as INVERTED
from onaspr_core.inversion import invert_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.provenance.__main__ import as_text
from onaspr_core.provenance.answer import Provenance, provenance_of
from onaspr_core.retrieval.neighbours import find_neighbours, neighbours_of, noise_neighbours_of
from onaspr_core.rewriting import stored
from onaspr_core.rewriting.stored import rewrites_that_say, store_rewrite, stored_rewrites
from onaspr_core.trial import Trial, generate_trial
from onaspr_core.variants import VARIANTS
from onaspr_core.video import read_frames
from onaspr_core.workspace import Workspace
from tests.core.provenance.world import (
    ANSWERS,
    CAPTIONS,
    FELL_BACK,
    NEIGHBOURS,
    PROMPTS,
    edit_record,
    key_of,
    prepare,
    record_file,
    reopened,
    write_captions,
    write_video,
)

ADDED = (
    *("experiment", "variant", "pool", "embedding_model", "rewrite_key"),
    *("backbone_model", "backbone_family", "backbone_dtype"),
)
"""Fields that the older form of a record does not have."""


def facts(answer: Provenance) -> dict[str, object]:
    """All but who uses the video now, and the notes."""
    parts = asdict(answer)
    del parts["video"]["serves"], parts["notes"]
    return parts


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
    stored_noise = world.store.read_tensors(INVERTED, inverted["key"])["noise"].astype(float)
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_answer_stays_when_every_setting_has_changed(variant: str, world: Workspace) -> None:
    key = key_of(world, variant, "p1")
    before = provenance_of(world, key)
    changed = reopened(
        world,
        ("^seed = 3", "seed = 4"),
        ("^eta = .*", "eta = inf"),
        ("^gamma = .*", "gamma = 1"),
        ("k = 2", "k = 1"),
        ("some-model", "other-model"),
        ("steps = 4, guidance_scale = 4.0", "steps = 5, guidance_scale = 2.0"),
        ("tiny", "other"),
        ("clips", "films"),
        (r'path = "/.*"', 'path = "someone/something"'),
        ('dtype = .*|device = "cpu"', 'dtype = "float16"'),
    )
    after = provenance_of(changed, key)
    assert facts(after) == facts(before)
    assert (before.video["serves"], after.video["serves"]) == ([f"tiny/{variant}/p1"], [])
    assert (before.notes, after.notes) == ((), ())


def test_a_caption_that_changed_since_is_told_and_the_one_that_was_found_is_kept(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    before = provenance_of(world, key).noise["neighbour"]
    write_captions(world.settings.base, CAPTIONS | {"0001": "a panda drives"})
    prepare(world)
    e = world.settings.experiment("tiny")
    assert invert_clips(world, e).computed == 0 and generate_videos(world, e, "ona").computed == 0
    answer = provenance_of(world, key)
    assert (answer.noise["neighbour"]["caption"], answer.noise["neighbour"]["similarity"]) == (
        before["caption"],
        before["similarity"],
    )
    assert answer.notes[1:] == ("The caption of pair 0001 in pool clips is now: a panda drives",)
    assert answer.video["serves"] == ["tiny/ona/p1"]
    assert answer.notes[0].startswith("Whether it is tiny/ona_spr/p1 now cannot be told: prompt p1 has no")


def test_a_pair_whose_video_was_replaced_is_told_and_the_clips_own_source_is_given(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    before = provenance_of(world, key).noise["neighbour"]
    write_video(world.settings.base, "0001", seed=9)
    prepare(world)
    answer = provenance_of(world, key)
    assert answer.noise["neighbour"] == before | {"source_row": None}
    [note] = [note for note in answer.notes if note.startswith("Pair")]
    now = neighbours_of(world, world.settings.experiment("tiny"))["p1"][0].clip_key
    assert note == f"Pair 0001 of pool clips has another clip now: {now}." and now != before["clip_key"]


def test_a_pair_that_left_the_pool_is_told_and_its_source_is_still_known(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    before = provenance_of(world, key).noise["neighbour"]
    write_captions(world.settings.base, {pair: text for pair, text in CAPTIONS.items() if pair != "0001"})
    build_manifest(world)
    answer = provenance_of(world, key)
    assert "Pool clips does not list pair 0001 now." in answer.notes
    assert answer.noise["neighbour"] == before | {"source_row": None}
    edit_record(world, key, *ADDED)
    record_file(world, answer.noise["inverted"]["key"], INVERTED).unlink()
    assert "No pool lists pair 0001 now." in provenance_of(world, key).notes


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


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_video_whose_record_is_of_the_older_form_is_answered_for(variant: str, world: Workspace) -> None:
    key = key_of(world, variant, "p1")
    before = asdict(provenance_of(world, key))
    edit_record(world, key, *ADDED)
    old = asdict(provenance_of(world, key))
    assert old["video"] == before["video"] | {"made_as": None}
    assert old["rewriting"] == before["rewriting"]
    assert old["software"] == before["software"] | {"model": None, "family": None, "dtype": None}
    if before["noise"]["neighbour"]:
        before["noise"]["neighbour"]["embedding_model"] = None
    assert old["noise"] == before["noise"]
    told = ("Its record names no rewrite; the one shown is the only one that says the same.",)
    assert old["notes"] == (told if before["rewriting"] else ())


def test_a_record_of_the_older_form_whose_rewrite_could_be_several_names_them_all(world: Workspace) -> None:
    key = key_of(world, "spr", "p1")
    edit_record(world, key, *ADDED)
    [(kind, rewrite)] = rewrites_that_say(world, PROMPTS["p1"], ANSWERS["p1"][0], None)
    store_rewrite(world, kind, "f" * 40, rewrite, {})
    answer = provenance_of(world, key)
    assert answer.rewriting is not None and answer.rewriting["references"] is None
    assert answer.rewriting["text"] == ANSWERS["p1"][0]
    [note] = answer.notes
    assert rewrite.key in note and "f" * 40 in note


def test_a_rewrite_that_was_made_again_with_other_words_lends_no_answers(world: Workspace) -> None:
    key = key_of(world, "spr", "p1")
    before = provenance_of(world, key).rewriting
    assert before is not None
    [(kind, rewrite)] = stored_rewrites(world, before["key"])
    again = stored.Rewrite("A panda drives.", rewrite.original, rewrite.references, None, (), rewrite.model)
    store_rewrite(world, kind, rewrite.key, again, before["asked_with"])
    answer = provenance_of(world, key)
    assert answer.rewriting == {**before, "answers": None, "refused": None}
    assert f"Rewrite {rewrite.key} was made again since" in " ".join(answer.notes)


def test_an_original_that_stood_in_for_an_answer_is_told_from_the_answer_that_came_later(
    world: Workspace,
) -> None:
    key = key_of(world, "spr", "p1")
    name = provenance_of(world, key).rewriting
    assert name is not None
    [(_, rewrite)] = stored_rewrites(world, name["key"])
    attempts = (stored.Attempt("", "timeout"),)
    stood_in = stored.Rewrite(
        rewrite.original, rewrite.original, rewrite.references, "timeout", attempts, rewrite.model
    )
    store_rewrite(world, stored.UNANSWERED_KIND, rewrite.key, stood_in, {})
    edit_record(world, key, rewritten_prompt=None, rewritten_steps=0, fallback_reason="timeout")
    answer = provenance_of(world, key).rewriting
    assert answer is not None and answer["refused"] == {"timeout": 1} and answer["text"] is None


def test_parts_that_are_gone_are_told_and_the_rest_is_answered(world: Workspace) -> None:
    key = key_of(world, "ona_spr", "p1")
    before = provenance_of(world, key)
    assert before.rewriting is not None
    record_file(world, before.noise["inverted"]["key"], INVERTED).unlink()
    record_file(world, before.rewriting["key"], stored.KIND).unlink()
    with open(before.video["file"], "ab") as mp4:
        mp4.write(b"more")
    with world.catalog.write() as connection:
        connection.execute("drop table clips")
    answer = provenance_of(world, key)
    told = " ".join(answer.notes)
    assert "Its MP4 cannot be read" in told and "cut is not known" in told
    assert f"inverted-latent {before.noise['inverted']['key']} is not in the store" in told
    assert f"rewrite {before.rewriting['key']} is not in the store any more" in told
    assert answer.noise["inverted"] == {"key": before.noise["inverted"]["key"]}
    known = ("text", "steps", "gamma", "fallback_reason", "key")
    assert answer.rewriting == {
        name: value if name in known else None for name, value in before.rewriting.items()
    }
    assert answer.noise["neighbour"]["source"] == before.noise["neighbour"]["source"]
    assert (answer.prompt, answer.sampling, answer.software) == (
        before.prompt,
        before.sampling,
        before.software,
    )


def test_pure_inverted_noise_has_no_random_part(world: Workspace) -> None:
    endless = reopened(world, ("^eta = .*", "eta = inf"))
    generate_videos(endless, endless.settings.experiment("tiny"), "ona")
    answer = provenance_of(endless, "tiny/ona/p1")
    assert (answer.noise["eta"], answer.noise["random"]) == ("inf", None)
    assert answer.video["serves"] == ["tiny/ona/p1"]


def test_an_answer_loads_no_model_and_writes_nothing(world: Workspace) -> None:
    root = world.settings.base / "data"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    provenance_of(world, world.store.url(KIND, key_of(world, "ona_spr", "p1")))
    assert world.models.loaded == ()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
