"""Asking for a video by key, by file and by name; and what is said when there is none, or several."""

import shutil

import pytest

from onaspr_core.errors import UserError
from onaspr_core.provenance.answer import provenance_of
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.provenance.world import FELL_BACK, key_of, prepare, record_file, reopened

REPORT = "data/store/reports/tiny"


def refusal(workspace: Workspace, what: object) -> str:
    with pytest.raises(UserError) as refused:
        provenance_of(workspace, str(what))
    return str(refused.value)


def test_key_prefix_file_copy_and_name_lead_to_one_answer(world: Workspace) -> None:
    key = key_of(world, "ona_spr", "p1")
    base = world.settings.base
    shown = base / REPORT / "videos" / f"{key}.mp4"
    copy = base / "nice one.mp4"
    shutil.copy(shown, copy)
    ways = [key, key.upper(), key[:10], world.store.url(VIDEO, key), shown, copy, "tiny/ona_spr/p1"]
    answers = [provenance_of(world, str(way)) for way in ways]
    assert answers[0].video["key"] == key
    assert all(answer == answers[0] for answer in answers)


def test_the_name_of_a_file_is_enough_where_the_file_is_elsewhere(world: Workspace) -> None:
    key = key_of(world, "spr", "p2")
    for name in (f"videos/{key}.mp4", f"s3://bucket/artifacts/video/{key[:2]}/{key}-01234567.mp4"):
        assert provenance_of(world, name).video["key"] == key


def test_a_file_is_known_by_its_bytes_and_not_by_its_name(world: Workspace) -> None:
    key, other = key_of(world, "ona", "p1"), key_of(world, "ona", "p2")
    file = world.settings.base / f"{other}.mp4"
    file.write_bytes(world.store.read(VIDEO, key))
    assert provenance_of(world, str(file)).video["key"] == key


def test_an_mp4_that_was_encoded_again_is_refused_and_the_key_in_its_name_offered(
    world: Workspace,
) -> None:
    key = key_of(world, "ona", "p1")
    file = world.settings.base / f"{key}.mp4"
    file.write_bytes(world.store.read(VIDEO, key) + b"more")
    assert refusal(world, file).endswith(f"its name is that of video {key}, its bytes are not; ask for {key}")
    renamed = file.rename(file.with_name("video.mp4"))
    assert "nothing that was made here has its bytes" in refusal(world, renamed)


def test_a_prefix_of_several_keys_is_refused_with_the_candidates(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    data, record = world.store.read(VIDEO, key), world.store.record(VIDEO, key)
    twins = [f"abcdef{number:034d}" for number in range(10)]
    for twin in twins:
        world.store.write(VIDEO, twin, ".mp4", data, record)
    record_file(world, twins[1]).write_text("{")
    said = refusal(world, "abcdef")
    assert said.startswith("10 keys begin with abcdef; say which:")
    assert f"{twins[0]}  eta 0.5, 0 rewritten steps, p1: a panda is driving a car" in said
    assert f"{twins[1]}  (its record is damaged)" in said
    assert twins[7] in said and twins[8] not in said and said.endswith("and 2 more")
    assert provenance_of(world, twins[0]).video["key"] == twins[0]


def test_bytes_that_several_videos_have_are_told_apart_by_the_files_name(world: Workspace) -> None:
    key, twin = key_of(world, "ona", "p1"), "abcdef" + "0" * 34
    world.store.write(VIDEO, twin, ".mp4", world.store.read(VIDEO, key), world.store.record(VIDEO, key))
    shown = world.settings.base / REPORT / "videos" / f"{key}.mp4"
    assert provenance_of(world, str(shown)).video["key"] == key
    copy = shutil.copy(shown, world.settings.base / "copy.mp4")
    said = refusal(world, copy)
    assert "has the bytes of 2 items; say which:" in said and key in said and twin in said


def test_a_prompt_without_a_variant_has_several_videos(world: Workspace) -> None:
    said = refusal(world, "tiny/p1")
    assert said.splitlines() == [
        "prompt p1 has several videos; say which:",
        *(f"  tiny/{variant}/p1" for variant in VARIANTS),
    ]


def test_what_is_nothing_is_refused_with_what_would_be_something(world: Workspace) -> None:
    assert "no file" in refusal(world, "nowhere/video.mp4") and "tiny" in refusal(world, "nowhere/video.mp4")
    assert refusal(world, "0" * 40) == f"no video or image in the store has a key that begins with {'0' * 40}"
    assert "experiment tiny has no prompt 'p9'" in refusal(world, "tiny/ona/p9")
    assert "baseline, ona, spr, ona_spr" in refusal(world, "tiny/best/p1")
    assert "no prompt ''" in refusal(world, "tiny")
    assert "no key" in refusal(world, "")


def test_a_pool_clip_of_the_report_is_told_from_a_video(world: Workspace) -> None:
    clip = next((world.settings.base / REPORT / "clips").iterdir())
    assert "it is a clip of the pool, cut from" in refusal(world, clip)


def test_a_name_means_the_settings_as_they_are_now(world: Workspace) -> None:
    before = key_of(world, "ona", "p1")
    changed = reopened(world, ("^eta = .*", "eta = 0.6"))
    said = refusal(changed, "tiny/ona/p1")
    assert "has not been made with the settings as they are now; materialize ona_videos" in said
    assert provenance_of(changed, before).noise["eta"] == 0.5
    assert provenance_of(changed, before).video["serves"] == []
    assert provenance_of(changed, "tiny/baseline/p1").video["serves"] == ["tiny/baseline/p1"]


def test_a_name_asks_nothing_of_other_prompts(world: Workspace) -> None:
    rewriting = provenance_of(world, "tiny/spr/p2").rewriting
    assert rewriting is not None
    record_file(world, rewriting["key"], "rewrite").unlink()
    assert provenance_of(world, "tiny/spr/p1").video["serves"] == ["tiny/spr/p1"]


def test_a_damaged_record_is_named_with_what_to_do(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    shown = world.settings.base / REPORT / "videos" / f"{key}.mp4"
    for damage in ("", '{"prompt": "a pan', "[]", "{}"):
        record_file(world, key).write_text(damage)
        for what in (key, shown, "tiny/ona/p1"):
            said = refusal(world, what)
            assert str(record_file(world, key)) in said and "materialize" in said


def test_an_earlier_copy_of_a_video_that_was_made_again_is_recognised(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    copy = shutil.copy(world.store.url(VIDEO, key), world.settings.base / "copy.mp4")
    world.store.write(VIDEO, key, ".mp4", b"other bytes", world.store.record(VIDEO, key))
    answer = provenance_of(world, str(copy))
    assert answer.video["key"] == key
    assert answer.notes[0] == f"{copy} is an earlier copy: the video was made again since, with other bytes."
    record_file(world, key).unlink()
    assert "nothing that was made here has its bytes" in refusal(world, copy)


def test_one_video_serves_every_variant_and_experiment_that_comes_to_it(world: Workspace) -> None:
    file = world.settings.base / "settings.toml"
    text = file.read_text()
    twin = text[text.index("[experiments.tiny]") :].replace("experiments.tiny", "experiments.twin")
    file.write_text(text + twin.replace("eta = 0.5", "eta = 0"))
    both = reopened(world)
    prepare(both)
    answer = provenance_of(both, f"twin/ona/{FELL_BACK}")
    assert answer.video["made_as"] == f"tiny/baseline/{FELL_BACK}"
    names = ["tiny/baseline", "tiny/spr", *(f"twin/{variant}" for variant in VARIANTS)]
    assert answer.video["serves"] == [f"{name}/{FELL_BACK}" for name in names]
    assert f"twin/spr/{FELL_BACK} uses it because its rewrite fell back (lost_content)." in answer.notes
    assert f"It was first made as tiny/baseline/{FELL_BACK}, and its record is of that." in answer.notes


def test_where_it_cannot_be_told_who_uses_a_video_the_answer_says_so(world: Workspace) -> None:
    key = key_of(world, "ona", "p1")
    changed = reopened(world, ("k = 2", "k = 9"))
    answer = provenance_of(changed, key)
    assert answer.video["serves"] == []
    [note] = answer.notes
    assert note.startswith("Whether it is tiny/ona/p1 or tiny/ona_spr/p1 now cannot be told: ")
    assert note.endswith("materialize neighbours.")
