"""The answer holds when settings, pool and store have changed since, and for records of the older form."""

from dataclasses import asdict

import pytest

from onaspr_core.generation import generate_videos
from onaspr_core.inversion import invert_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.provenance.answer import Provenance, provenance_of
from onaspr_core.retrieval.neighbours import neighbours_of
from onaspr_core.rewriting import stored
from onaspr_core.rewriting.stored import rewrites_that_say, store_rewrite, stored_rewrites
from onaspr_core.stored_kinds import INVERTED_LATENT, REWRITE, UNANSWERED_REWRITE
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.provenance.world import (
    ANSWERS,
    CAPTIONS,
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
    record_file(world, answer.noise["inverted"]["key"], INVERTED_LATENT).unlink()
    assert "No pool lists pair 0001 now." in provenance_of(world, key).notes


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
    store_rewrite(world, UNANSWERED_REWRITE, rewrite.key, stood_in, {})
    edit_record(world, key, rewritten_prompt=None, rewritten_steps=0, fallback_reason="timeout")
    answer = provenance_of(world, key).rewriting
    assert answer is not None and answer["refused"] == {"timeout": 1} and answer["text"] is None


def test_parts_that_are_gone_are_told_and_the_rest_is_answered(world: Workspace) -> None:
    key = key_of(world, "ona_spr", "p1")
    before = provenance_of(world, key)
    assert before.rewriting is not None
    record_file(world, before.noise["inverted"]["key"], INVERTED_LATENT).unlink()
    record_file(world, before.rewriting["key"], REWRITE).unlink()
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
