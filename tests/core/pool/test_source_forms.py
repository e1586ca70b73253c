"""The forms that are tables of text, on small files of exactly the form that was published."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media
from onaspr_core.pool.sources import SourceRow
from tests.core.pool.rows import read, write

CAPTIONS = [
    "A woman's hand waves, slowly.",
    'He says "no" and leaves.',
    'It\'s a "test" of [brackets], {braces} and back\\slashes',
    "Ein Café in 東京",
]

# WebVid: results_10M_train.csv, or the partitions that the Hub has.

WEBVID = "videoid,contentUrl,duration,page_dir,name\n"


def test_webvid_without_a_folder_is_its_urls(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", WEBVID + "7,https://ak.picdn.net/7.mp4,PT00H00M11S,000001_000050,A dog\n")
    (row,) = read(tmp_path, format="webvid", path="t.csv")
    assert (row.id, row.caption, row.media) == ("7", "A dog", Media("https://ak.picdn.net/7.mp4"))


def test_webvid_in_partitions_is_one_source_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (10, 0, 2):
        write(tmp_path / f"partitions/{number:04}.csv", WEBVID + f"{number},u,PT1S,p,caption {number}\n")
    for path in ("partitions", "partitions/*.csv"):
        rows = read(tmp_path, format="webvid", path=path, videos="v")
        assert [row.id for row in rows] == ["0", "2", "10"]


def test_partitions_with_other_columns_are_an_error_that_names_both(tmp_path: Path) -> None:
    write(tmp_path / "a/0.csv", WEBVID)
    write(tmp_path / "a/1.csv", "videoid,name\n")
    with pytest.raises(UserError, match=r"1\.csv has columns videoid, name; .*0\.csv has videoid, cont"):
        read(tmp_path, format="webvid", path="a", videos="v")


# OpenVid-1M: OpenVid-1M.csv and OpenVidHD.csv, beside one folder of all videos.

OPENVID = (
    "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
    '---_iRTHryQ_13_0to241.mp4,"In the video, a man in a suit speaks.",'
    "5.228,2.11,0.9988,static,241,30.0,8.03\n"
)


def test_openvid_is_a_file_name_a_caption_and_scores(tmp_path: Path) -> None:
    write(tmp_path / "OpenVid-1M.csv", OPENVID)
    (row,) = read(tmp_path, format="openvid", path="OpenVid-1M.csv", videos="video_folder")
    assert row.id == "---_iRTHryQ_13_0to241.mp4"
    assert row.caption == "In the video, a man in a suit speaks."
    assert row.media == Media(str(tmp_path / "video_folder/---_iRTHryQ_13_0to241.mp4"))
    assert row.extra["aesthetic score"] == "5.228" and row.extra["camera motion"] == "static"


# InternVid: JSON lines as published, or the same columns as CSV or Parquet.

INTERNVID: dict[str, Any] = {
    "YoutubeID": "-_cZMJZ0dV0",
    "Start_timestamp": "00:01:03.500",
    "End_timestamp": "00:01:09.973",
    "Caption": "a person pouring water into a glass",
    "Aesthetic_Score": 4.29296875,
    "UMT_Score": 0.41,
}
INTERNVID_ID = "-_cZMJZ0dV0_00:01:03.500_00:01:09.973"


def test_internvid_is_spans_of_local_videos(tmp_path: Path) -> None:
    later = {**INTERNVID, "Start_timestamp": "00:01:09.973", "End_timestamp": "01:00:00.000"}
    write(tmp_path / "t.jsonl", f"{json.dumps(INTERNVID)}\n{json.dumps(later)}\n")
    first, second = read(tmp_path, format="internvid", path="t.jsonl", videos="v")
    assert first.id == INTERNVID_ID
    assert first.caption == INTERNVID["Caption"]
    assert first.media == Media(str(tmp_path / "v/-_cZMJZ0dV0.mp4"), start=63.5, stop=69.973)
    assert second.media == Media(str(tmp_path / "v/-_cZMJZ0dV0.mp4"), start=69.973, stop=3600.0)
    assert first.extra == {"YoutubeID": "-_cZMJZ0dV0", "Aesthetic_Score": "4.29296875", "UMT_Score": "0.41"}


def test_internvid_as_csv_and_as_parquet_is_the_same(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", ",".join(INTERNVID) + "\n" + ",".join(map(str, INTERNVID.values())) + "\n")
    pq.write_table(pa.Table.from_pylist([INTERNVID]), tmp_path / "t.parquet")
    for path in ("t.csv", "t.parquet"):
        (row,) = read(tmp_path, format="internvid", path=path, videos="v")
        assert (row.id, row.media.start, row.media.stop) == (INTERNVID_ID, 63.5, 69.973)
        assert float(row.extra["UMT_Score"]) == 0.41


def test_a_span_that_ends_before_it_starts_or_is_no_time_is_a_problem(tmp_path: Path) -> None:
    lines = [
        {**INTERNVID, "End_timestamp": "00:00:01.000"},
        {**INTERNVID, "Start_timestamp": "soon"},
        {**INTERNVID, "End_timestamp": None},
        {**INTERNVID, "End_timestamp": "nan"},
        {**INTERNVID, "End_timestamp": "inf"},
    ]
    write(tmp_path / "t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    rows = read(tmp_path, format="internvid", path="t.jsonl", videos="v")
    assert [row.problem for row in rows] == ["its start and stop are no span of a video"] * 5


def test_a_line_that_is_no_json_is_a_row_without_id_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", f"{json.dumps(INTERNVID)}\n{{broken\n[1]\n{json.dumps(INTERNVID)}\n")
    rows = read(tmp_path, format="internvid", path="t.jsonl", videos="v")
    assert [row.id for row in rows] == [INTERNVID_ID, "", "", INTERNVID_ID]


# Panda-70M: one row is a video, its columns are Python lists with one value for each clip.


def panda(tmp_path: Path, rows: Sequence[Sequence[Any]]) -> list[SourceRow]:
    frame = "videoID,url,timestamp,caption,matching_score,desirable_filtering\n"
    for row in rows:
        frame += ",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) + "\n"
    write(tmp_path / "panda.csv", frame)
    return read(tmp_path, format="panda70m", path="panda.csv", videos="v")


def test_panda70m_is_as_many_rows_as_there_are_clips(tmp_path: Path) -> None:
    times = [["0:00:25.358", "0:00:30.363"], ["0:00:30.363", "1:02:03.500"]]
    url = "https://www.youtube.com/watch?v=--02qnwtZXU"
    rows = panda(
        tmp_path,
        [
            ["--02qnwtZXU", url, times, CAPTIONS[:2], [0.443, 0.51], ["desirable", "0_low_desirable_score"]],
            ["other", url, times, CAPTIONS[2:], [0.6, 0.7], ["desirable", "desirable"]],
        ],
    )
    assert [row.id for row in rows] == [
        "--02qnwtZXU_00000",
        "--02qnwtZXU_00001",
        "other_00000",
        "other_00001",
    ]
    assert [row.caption for row in rows] == CAPTIONS
    assert rows[1].media == Media(str(tmp_path / "v/--02qnwtZXU.mp4"), start=30.363, stop=3723.5)
    assert rows[1].extra == {
        "url": url,
        "matching_score": "0.51",
        "desirable_filtering": "0_low_desirable_score",
    }
    assert not any(row.problem for row in rows)


def test_invisible_characters_of_python_lists_are_white_space(tmp_path: Path) -> None:
    times = [["0:00:00.000", "0:00:01.000"]]
    (row,) = panda(tmp_path, [["v", "u", times, ["tab\there, nbsp\xa0there,\nline"], [1.0], ["x"]]])
    assert row.caption == "tab here, nbsp there, line"


def test_a_row_of_panda70m_whose_lists_cannot_be_read_is_one_row_with_its_problem(tmp_path: Path) -> None:
    row, short = panda(
        tmp_path,
        [
            ["v", "u", "[[", ["a"], [1.0], ["x"]],
            ["w", "u", [["0:00:00.000", "0:00:01.000"]], [], [1.0], ["x"]],
        ],
    )
    assert (row.id, row.problem) == ("v_00000", "its start and stop are no span of a video")
    assert (short.id, short.problem) == ("w_00000", "the caption is empty")


# Flickr30k: Karpathy's split, or the token file.

KARPATHY = {
    "images": [
        {
            "sentids": [0, 1],
            "imgid": 0,
            "sentences": [
                {
                    "tokens": ["two", "men"],
                    "raw": "Two young guys with shaggy hair .",
                    "imgid": 0,
                    "sentid": 0,
                },
                {"tokens": ["men"], "raw": 'Two men "outside" .', "imgid": 0, "sentid": 1},
            ],
            "split": "train",
            "filename": "1000092795.jpg",
        },
        {
            "sentids": [5],
            "imgid": 1,
            "sentences": [{"tokens": ["a"], "raw": "A child .", "imgid": 1, "sentid": 5}],
            "split": "test",
            "filename": "10002456.jpg",
        },
    ],
    "dataset": "flickr30k",
}
TOKENS = (
    "1000092795.jpg#0\tTwo young guys with shaggy hair .\n"
    '1000092795.jpg#1\tTwo men "outside" .\n'
    "10002456.jpg#0\tA child .\n"
)


def test_flickr30k_is_the_same_from_karpathys_split_and_from_the_token_file(tmp_path: Path) -> None:
    write(tmp_path / "dataset_flickr30k.json", json.dumps(KARPATHY))
    write(tmp_path / "results_20130124.token", TOKENS)
    settings = {"format": "flickr30k", "videos": "flickr30k-images"}
    split = read(tmp_path, path="dataset_flickr30k.json", **settings)
    tokens = read(tmp_path, path="results_20130124.token", **settings)
    assert [row.id for row in split] == ["1000092795.jpg#0", "1000092795.jpg#1", "10002456.jpg#0"]
    assert split[1].caption == 'Two men "outside" .'
    assert split[2].media == Media(str(tmp_path / "flickr30k-images/10002456.jpg"))
    assert split[2].extra["split"] == "test"
    assert [(r.id, r.caption, r.media) for r in split] == [(r.id, r.caption, r.media) for r in tokens]
