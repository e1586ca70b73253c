"""VBench's results files, in the form that its own code writes."""

import json

import pytest

from onaspr_core.errors import UserError
from onaspr_core.evaluation.vbench import parse_vbench

RESULTS = {
    "subject_consistency": [
        0.9512,
        [
            {"video_path": "videos/a dog running-0.mp4", "video_results": 0.94},
            {"video_path": "videos/a dog running-1.mp4", "video_results": 0.97},
        ],
    ],
    "dynamic_degree": [0.5, [{"video_path": "a.mp4", "video_results": True}]],
    "appearance_style": [
        0.23,
        [{"video_path": "b.mp4", "video_results": 0.23, "frame_results": [0.2, 0.26]}],
    ],
    "imaging_quality": [0.61, [{"video_path": "b.mp4", "video_results": 61.2}]],
}


def test_every_dimension_has_its_own_score_and_its_videos() -> None:
    found = parse_vbench(json.dumps(RESULTS), "run_eval_results.json")
    assert list(found) == ["subject_consistency", "dynamic_degree", "appearance_style", "imaging_quality"]
    subject = found["subject_consistency"]
    assert (subject.name, subject.score, subject.n) == ("subject_consistency", 0.9512, 2)
    assert subject.videos["videos/a dog running-1.mp4"] == 0.97
    assert found["dynamic_degree"].videos == {"a.mp4": 1.0}
    assert found["appearance_style"].videos == {"b.mp4": 0.23}
    assert (found["imaging_quality"].score, found["imaging_quality"].videos) == (0.61, {"b.mp4": 61.2})


VIDEO = {"video_path": "a.mp4", "video_results": 1.0}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "no VBench dimensions"),
        ("{}", "no VBench dimensions"),
        ({"color": 0.5}, "dimension color: expected .score, .videos.."),
        ({"color": [0.5, {"video_path": "a"}]}, "expected .score"),
        ({"color": [0.5, []]}, "no video"),
        ({"color": ["high", [VIDEO]]}, "dimension color: expected a finite number, found 'high'"),
        ({"color": [0.5, [VIDEO, {"video_results": 1.0}]]}, "video 1: expected video_path"),
        ({"color": [0.5, [{"video_path": "a.mp4"}]]}, "video 0: expected a finite number, found None"),
        ({"color": [0.5, [VIDEO, VIDEO]]}, "a.mp4 is there twice"),
        ('{"color": [NaN, [{"video_path": "a.mp4", "video_results": 1.0}]]}', "found nan"),
    ],
)
def test_another_form_is_refused_with_file_dimension_and_video(content: object, told: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(UserError, match=told) as raised:
        parse_vbench(text, "results.json")
    assert "results.json" in str(raised.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UserError, match="is not JSON"):
        parse_vbench(b"\xff\xfe\x00broken", "results.json")
