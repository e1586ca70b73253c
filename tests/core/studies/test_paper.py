"""The paper's numbers: all of them, each once, and contradictions that are there indeed."""

import csv
from collections import Counter
from importlib import resources

import pytest

from onaspr_core.studies.paper import CONTRADICTIONS, paper_numbers
from onaspr_core.studies.plans import ALL

FIVE = ("fid", "clip_fid", "clipsim", "fvd", "is")
COUNTS = {
    "table_1": 8 * 5,
    "table_2a": 4 * 5,
    "table_2b": 5 * 5,
    "table_2c": 5 * 5,
    "table_2d": 2 * 5,
    "table_3": 8 * 3,
    "table_4": 6,
    "figure_4": 2 * 5,
}
TYPED = {
    ("table_1", "modelscope/baseline"): "45.378 13.677 0.296 774.14 32.337",
    ("table_1", "modelscope/spr"): "43.585 13.572 0.297 684.9 33.136",
    ("table_1", "modelscope/ona_spr"): "42.755 13.674 0.300 566.68 38.190",
    ("table_1", "scvideo/ona"): "43.585 14.287 0.289 558.51 31.538",
    ("table_1", "scvideo/ona_spr"): "42.902 14.155 0.288 541.43 33.245",
    ("table_2a", "10000"): "43.236 14.352 0.288 591.79 31.735",
    ("table_2a", "10000000"): "42.072 14.285 0.289 571.27 33.232",
    ("table_2b", "0.1"): "43.760 14.291 0.284 769.35 25.006",
    ("table_2b", "0.5"): "42.992 14.755 0.278 729.23 25.453",
    ("table_2c", "1"): "45.410 15.386 0.273 745.07 24.604",
    ("table_2c", "10"): "43.125 15.257 0.277 755.55 26.598",
    ("table_2d", "Llama2-7B"): "43.811 14.395 0.287 551.87 31.305",
    ("table_3", "stable-diffusion-1.5/spr"): "23.861 13.212 0.320",
    ("table_3", "sdxl/ona"): "24.129 12.885 0.337",
}


def printed(study: str, row: str) -> list[str]:
    return [number.text for number in paper_numbers(study)[row].values()]


def test_every_number_is_there_exactly_once() -> None:
    text = resources.files("onaspr_core.studies").joinpath("paper.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert max(Counter((row["study"], row["row"], row["metric"]) for row in rows).values()) == 1
    assert Counter(row["study"] for row in rows) == COUNTS
    assert set(COUNTS) == set(ALL) - {"figure_3"}
    assert sum(len(own) for study in ALL for own in paper_numbers(study).values()) == len(rows)


@pytest.mark.parametrize(("study", "row"), TYPED)
def test_numbers_are_as_printed(study: str, row: str) -> None:
    assert printed(study, row) == TYPED[study, row].split()


def test_times_are_as_printed() -> None:
    found = {stage: own["milliseconds"].text for stage, own in paper_numbers("table_4").items()}
    assert found == {
        "feature_extraction": "31,109",
        "video_retrieval": "0.746",
        "inversion": "5,532",
        "text_retrieval": "4.271",
        "rewriting": "1,531",
        "denoising": "8,481",
    }


def test_each_metric_is_of_its_benchmark() -> None:
    for study in ALL:
        for own in paper_numbers(study).values():
            for metric, number in own.items():
                of_video = "ucf101" if metric in ("fvd", "is") else "msr-vtt"
                expected = {"table_3": "coco", "table_4": ""}.get(study, of_video)
                assert number.benchmark == expected
                assert number.value > 0


def test_what_the_notes_call_a_contradiction_is_one() -> None:
    one, last = printed("table_1", "scvideo/ona_spr"), printed("table_2d", "ChatGPT")
    assert (one[0], last[0], one[1:] == last[1:]) == ("42.902", "42.901", True)
    fids = [own["fid"].text for own in paper_numbers("table_1").values()]
    assert [name for name, own in paper_numbers("table_1").items() if own["fid"].text == "43.585"] == [
        "modelscope/spr",
        "scvideo/ona",
    ]
    assert max(Counter(fids).values()) == 2
    assert printed("table_2a", "100000") == printed("table_1", "scvideo/ona")
    fid = {row: own["fid"].value for row, own in paper_numbers("table_2a").items()}
    fvd = {row: own["fvd"].value for row, own in paper_numbers("table_2a").items()}
    assert fid["10000"] < fid["100000"]
    assert (min(fvd, key=fvd.__getitem__), max(fvd, key=fvd.__getitem__)) == ("100000", "1000000")
    for note in ("42.901", "43.585", "43.236", "43.585"):
        assert any(note in told for told in CONTRADICTIONS["table_1"] + CONTRADICTIONS["table_2a"])


def test_gamma_and_references_contradict_one_another_as_noted() -> None:
    gamma, spr = paper_numbers("table_2b"), paper_numbers("table_1")["scvideo/spr"]
    assert gamma["0.1"]["fvd"].value > gamma["0"]["fvd"].value
    assert {metric: spr[metric] for metric in FIVE[:3]} == {m: gamma["0.1"][m] for m in FIVE[:3]}
    assert {metric: spr[metric] for metric in FIVE[3:]} == {m: gamma["1"][m] for m in FIVE[3:]}
    assert printed("table_2c", "5") == printed("table_2b", "1")
    falls = [own["fvd"].text for own in paper_numbers("table_2c").values()]
    assert falls == ["808.16", "745.07", "824.99", "712.88", "755.55"]
    assert printed("table_2b", "0") == printed("table_1", "scvideo/baseline")
    assert all(text in CONTRADICTIONS["table_2c"][0] for text in falls)


def test_figure_4_repeats_table_1() -> None:
    assert printed("figure_4", "0") == printed("table_1", "scvideo/baseline")
    assert printed("figure_4", "0.5") == printed("table_1", "scvideo/ona")
