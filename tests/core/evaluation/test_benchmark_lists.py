"""Published lists: which rows, which caption of several, and what is said of a list of another form."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from onaspr_core.errors import UserError
from onaspr_core.evaluation import list_files
from onaspr_core.evaluation.benchmark_lists import BenchmarkList, read_benchmark
from onaspr_core.evaluation.settings import BenchmarkSettings
from onaspr_core.evaluation.ucf101 import class_prompts
from tests.published import UCF101_LIST, coco, flickr30k, msr_vtt, write_json


def read(file: Path, form: str, **told: Any) -> BenchmarkList:
    benchmark = BenchmarkSettings.model_validate(
        {"format": form, "path": str(file), "videos": "media", **told}
    )
    return read_benchmark(benchmark, file.parent)


def told_of(found: BenchmarkList) -> list[tuple[str, str]]:
    return [(row.id, row.caption) for row in found.rows]


def test_msr_vtt_has_one_caption_of_each_test_video(tmp_path: Path) -> None:
    listed, others = msr_vtt(7010, 5), msr_vtt(6513, 3, "validate")
    listed = {name: listed[name] + others[name] for name in ("videos", "sentences")}  # type: ignore[operator]
    found = read(write_json(tmp_path / "list.json", listed), "msr-vtt")
    assert {row.id for row in found.rows} == {f"video{i}" for i in range(7010, 7015)}
    for row in found.rows:
        assert row.caption in {f"video {row.id[5:]} told in words {n}" for n in range(20)}
        assert row.media.path == str(tmp_path / f"media/{row.id}.mp4")
    assert len({row.caption[-2:] for row in found.rows}) > 1


@pytest.mark.parametrize("form", ["msr-vtt", "coco", "ucf101"])
def test_the_order_of_the_file_changes_nothing_and_the_seed_does(tmp_path: Path, form: str) -> None:
    if form == "ucf101":
        file = tmp_path / "list.txt"
        file.write_text("\n".join(UCF101_LIST))
        first = read(file, form)
        file.write_text("\r\n".join(reversed(UCF101_LIST)) + "\r\n")
        assert read(file, form) == first
        return
    value: dict[str, Any] = msr_vtt(7010, 6) if form == "msr-vtt" else coco(6)
    file = write_json(tmp_path / "list.json", value)
    first, other = read(file, form), read(file, form, seed=1)
    for rows in value.values():
        if isinstance(rows, list):
            rows.reverse()
    assert read(write_json(file, value), form) == first
    assert dict(told_of(other)) != dict(told_of(first))
    assert {row.id for row in other.rows} == {row.id for row in first.rows}


def test_the_whole_of_msr_vtt_and_ucf101_is_as_many_as_were_published(tmp_path: Path) -> None:
    found = read(write_json(tmp_path / "list.json", msr_vtt(7010, 2990)), "msr-vtt")
    assert (len(found.rows), found.expected, len(found.usable)) == (2990, 2990, 2990)
    classes = sorted(class_prompts())
    lines = [f"{classes[i % 101]}/v_{classes[i % 101]}_g01_c{i // 101 + 1:02d}.avi" for i in range(3783)]
    (tmp_path / "testlist01.txt").write_text("\n".join(lines))
    ucf = read(tmp_path / "testlist01.txt", "ucf101")
    assert (len(ucf.rows), ucf.expected) == (3783, 3783)
    listed = Counter(line.partition("/")[0] for line in lines)
    assert Counter(row.extra["class"] for row in ucf.rows) == listed
    assert Counter(row.caption for row in ucf.rows) == {class_prompts()[c]: n for c, n in listed.items()}


def test_the_first_rows_are_of_many_classes(tmp_path: Path) -> None:
    lines = [f"{c}/v_{c}_g01_c{i:02d}.avi" for c in sorted(class_prompts()) for i in range(1, 38)]
    (tmp_path / "testlist01.txt").write_text("\n".join(lines))
    first = read(tmp_path / "testlist01.txt", "ucf101").rows[:100]
    assert len({row.extra["class"] for row in first}) > 40


def test_ucf101_has_a_prompt_for_each_of_its_101_classes(tmp_path: Path) -> None:
    assert len(class_prompts()) == 101
    (tmp_path / "testlist01.txt").write_text("\n".join(UCF101_LIST))
    found = {row.id: row for row in read(tmp_path / "testlist01.txt", "ucf101").rows}
    upside_down = found["v_HandStandPushups_g01_c01"]
    assert upside_down.caption == "an athlete doing handstand push up"
    assert upside_down.extra == {"class": "HandstandPushups"}
    assert upside_down.media.path.endswith("media/HandstandPushups/v_HandStandPushups_g01_c01.avi")


def test_a_smaller_choice_of_coco_is_part_of_a_larger_one(tmp_path: Path) -> None:
    file = write_json(tmp_path / "captions_val2014.json", coco(5200))
    usual, few, more = read(file, "coco"), read(file, "coco", size=40), read(file, "coco", size=400)
    assert (len(usual.rows), usual.expected) == (5000, 5000)
    assert (len(few.rows), few.expected) == (40, 40)
    assert few.rows == more.rows[:40]
    row = few.rows[0]
    assert row.media.path == str(tmp_path / f"media/{row.id}.jpg")
    assert row.caption.startswith(f"Image {int(row.id[-12:])} in words ")
    other = read(file, "coco", size=40, seed=1)
    assert {row.id for row in other.rows} != {row.id for row in few.rows}


def test_flickr30k_has_one_row_of_each_test_image(tmp_path: Path) -> None:
    splits = {"1.jpg": "train", "2.jpg": "test", "3.jpg": "val", "4.jpg": "test"}
    found = read(write_json(tmp_path / "dataset_flickr30k.json", flickr30k(splits)), "flickr30k")
    assert {row.id for row in found.rows} == {"2", "4"}
    assert found.expected == 1000
    assert {row.media.path for row in found.rows} == {str(tmp_path / f"media/{i}.jpg") for i in (2, 4)}
    assert all(row.caption.startswith(f"{row.id}.jpg in words") for row in found.rows)

    tokens = [f"{i}.jpg#{n}\tImage {i} in words {n} ." for i in range(3) for n in range(5)]
    (tmp_path / "results_20130124.token").write_text("\n".join(tokens) + "\n")
    found = read(tmp_path / "results_20130124.token", "flickr30k")
    assert ({row.id for row in found.rows}, found.expected) == ({"0", "1", "2"}, 31783)


def test_a_video_without_a_caption_is_a_row_with_its_problem(tmp_path: Path) -> None:
    listed: dict[str, Any] = msr_vtt(7010, 2)
    listed["sentences"] = [one for one in listed["sentences"] if one["video_id"] == "video7011"]
    listed["sentences"].append({"caption": " ", "video_id": "video7010", "sen_id": 1})
    found = read(write_json(tmp_path / "list.json", listed), "msr-vtt")
    assert {row.id: row.problem for row in found.rows} == {
        "video7010": "the list has no caption for it",
        "video7011": None,
    }
    assert [row.id for row in found.usable] == ["video7011"]


ESCAPING = {"videos": [{"video_id": "../x", "split": "test"}], "sentences": []}
NO_TEXT = {
    "videos": [{"video_id": "video1", "split": "test"}],
    "sentences": [{"video_id": "video1", "caption": 3}],
}


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("msr-vtt", json.dumps(msr_vtt(7010, 2))[:-20], "damaged, or no JSON"),
        ("msr-vtt", "[" * 200_000, "damaged, or no JSON"),
        ("msr-vtt", "[]", "is not of the form msr-vtt: expected videos, each with video_id"),
        ("msr-vtt", json.dumps(coco(2)), "no 'sentences'"),
        ("msr-vtt", json.dumps(ESCAPING), "'../x' is no name of a file"),
        ("msr-vtt", json.dumps(NO_TEXT), "the caption 3 is no text"),
        ("msr-vtt", json.dumps(msr_vtt(0, 3, "train")), "no video of the split 'test' (it has 3 of 'train')"),
        ("coco", json.dumps(msr_vtt(7010, 2)), "no 'annotations'"),
        ("coco", "\x00", "damaged, or no JSON"),
        (
            "ucf101",
            "Archery/v_Archery_g01_c01.avi 3\n",
            "line 1: 'Archery/v_Archery_g01_c01.avi 3' is no line",
        ),
        ("ucf101", "\nSleeping/v_Sleeping_g01_c01.avi\n", "line 2: 'Sleeping/"),
        ("ucf101", json.dumps(coco(1)), "is no line of UCF101's testlist01.txt"),
    ],
)
def test_a_list_of_another_form_is_one_sentence_with_the_remedy(
    tmp_path: Path, form: str, text: str, told: str
) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(UserError) as error:
        read(tmp_path / "list", form)
    assert told in str(error.value)
    remedy = {"msr-vtt": "test_videodatainfo.json", "coco": "cocodataset.org", "ucf101": "www.crcv.ucf.edu"}
    assert remedy[form] in str(error.value)
    assert str(tmp_path / "list") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", ["msr-vtt", "ucf101", "coco"])
def test_a_list_that_is_not_there_or_too_large_is_told(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"list cannot be read: .*; .*"):
        read(tmp_path / "list", form)
    monkeypatch.setattr(list_files, "LARGEST", 10)
    (tmp_path / "list").write_text("a list of other things")
    with pytest.raises(UserError, match="more than 10 bytes"):
        read(tmp_path / "list", form)


def test_a_list_without_rows_or_with_an_id_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\n")
    with pytest.raises(UserError, match="holds no row"):
        read(tmp_path / "list", "ucf101")
    (tmp_path / "list").write_text(f"{UCF101_LIST[0]}\n" * 2)
    with pytest.raises(UserError, match="'v_Archery_g01_c01' twice"):
        read(tmp_path / "list", "ucf101")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"format": "msr-vtt"}, "needs `videos`"),
        ({"format": "ucf101", "videos": ".", "size": 5}, "remove `size`"),
        ({"format": "webvid", "videos": ".", "seed": 1}, "remove `seed`"),
        ({"format": "ucf101", "videos": ".", "seed": 1}, "remove `seed`"),
    ],
)
def test_settings_that_a_form_has_no_use_for_are_mistakes(told: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        BenchmarkSettings.model_validate({"path": "list", **told})
