"""Every published form, on small files of exactly that form."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onaspr_core.errors import UserError
from onaspr_core.pool.media import Media, open_media
from onaspr_core.pool.sources import SourceRow, read_source
from onaspr_core.settings import PoolSettings

CAPTIONS = [
    "A woman's hand waves, slowly.",
    'He says "no" and leaves.',
    'It\'s a "test" of [brackets], {braces} and back\\slashes',
    "Ein Café in 東京",
]


def read(base: Path, **settings: Any) -> list[SourceRow]:
    return list(read_source(PoolSettings.model_validate(settings), base))


def by_id(base: Path, **settings: Any) -> dict[str, SourceRow]:
    return {row.id: row for row in read(base, **settings)}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


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


# video2dataset and img2dataset: 00000.tar, 00000.parquet, 00000_stats.json.


def tar_of(path: Path, members: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def shard(folder: Path, number: int, statuses: Mapping[str, str | None], suffix: str = "mp4") -> None:
    """A shard as video2dataset writes it; `statuses` are error messages by key, None for success."""
    rows, members = [], {}
    for key, error in statuses.items():
        row = {
            "videoid": f"v{key}",
            "url": f"https://x.test/{key}",
            "caption": f"caption {key}",
            "key": key,
            "status": "failed_to_download" if error else "success",
            "error_message": error,
        }
        members[f"{key}.json"] = json.dumps(row, indent=4).encode()
        if not error:
            members[f"{key}.{suffix}"] = b"media of " + key.encode()
        members[f"{key}.txt"] = f"caption {key}".encode()
        rows.append(row)
    tar_of(folder / f"{number:05}.tar", members)
    schema = pa.schema([(name, pa.string()) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{number:05}.parquet")
    write(folder / f"{number:05}_stats.json", json.dumps({"count": len(rows)}))


@pytest.mark.parametrize("suffix", ["mp4", "jpg"])
def test_video2dataset_is_members_of_tars_with_what_its_parquet_says(tmp_path: Path, suffix: str) -> None:
    shard(tmp_path / "set", 0, {"000000000": "HTTP Error 404", "000000001": None}, suffix)
    shard(tmp_path / "set", 1, {"000010000": None}, suffix)
    failed, first, second = read(tmp_path, format="webdataset", path="set")
    assert failed.problem == "its download failed: HTTP Error 404"
    assert (first.id, first.caption, first.problem) == ("000000001", "caption 000000001", None)
    assert first.media == Media(str(tmp_path / "set/00000.tar"), f"000000001.{suffix}")
    assert second.media == Media(str(tmp_path / "set/00001.tar"), f"000010000.{suffix}")
    assert second.extra["url"] == "https://x.test/000010000"


def test_ids_of_a_webdataset_may_be_another_column(tmp_path: Path) -> None:
    shard(tmp_path / "set", 0, {"000000001": None})
    (row,) = read(tmp_path, format="webdataset", path="set", columns={"id": "videoid"})
    assert (row.id, row.media.member) == ("v000000001", "000000001.mp4")


def test_a_shard_that_a_download_left_half_written_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard(tmp_path / "set", 0, {"000000001": None})
    shard(tmp_path / "set", 1, {"000010000": None})
    half = tmp_path / "set/00001.parquet"
    half.write_bytes(half.read_bytes()[:-10])
    (row,) = read(tmp_path, format="webdataset", path="set")
    assert row.id == "000000001"
    assert "00001.tar is left out" in caplog.text


def test_tars_without_lists_are_indexed_by_their_headers(tmp_path: Path) -> None:
    tar_of(
        tmp_path / "train-0.tar",
        {
            "a/000012345.mp4": b"media",
            "a/000012345.json": json.dumps({"caption": "from json", "aesthetic score": 5.5}).encode(),
            "000012346.webm": b"media",
            "000012346.txt": b"from text",
            "000012347.txt": b"no media",
        },
    )
    first, second, third = read(tmp_path, format="webdataset", path="train-0.tar")
    assert (first.id, first.caption, first.media.member) == ("a/000012345", "from json", "a/000012345.mp4")
    assert first.extra == {"aesthetic score": "5.5"}
    assert (second.id, second.caption, second.media.member) == ("000012346", "from text", "000012346.webm")
    assert third.problem == "its tar holds no video"


@pytest.mark.parametrize("listed", [False, True])
def test_a_video_goes_before_its_thumbnail_and_names_may_begin_with_a_dot(
    tmp_path: Path, listed: bool
) -> None:
    members = {"./1.jpg": b"thumbnail", "./1.mp4": b"media", "./1.png": b"other", "./._1.mp4": b"a Mac's"}
    tar_of(tmp_path / "0.tar", {**members, "./1.txt": b"a dog"})
    if listed:
        pq.write_table(pa.table({"key": ["1"], "caption": ["a dog"]}), tmp_path / "0.parquet")
    (row,) = read(tmp_path, format="webdataset", path="0.tar")
    assert (row.id, row.caption, row.media.member) == ("1", "a dog", "1.mp4")
    with open_media(row.media) as file:
        assert not isinstance(file, str) and file.read() == b"media"


# Any Parquet: paths, bytes, and the features that the Hub's `datasets` writes.

HUB = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_bytes_in_parquet_are_a_column_and_a_row_of_it(tmp_path: Path) -> None:
    media = pa.array([{"bytes": b"\x00" * 9, "path": None}, {"bytes": b"two", "path": "b.mp4"}], HUB)
    for number, captions in enumerate((["one", "two"], ["three", "four"])):
        table = pa.table({"video": media, "caption": captions, "score": [0.5, 1.5]})
        pq.write_table(table, tmp_path / f"train-{number:05}-of-00002.parquet")
    rows = read(tmp_path, format="parquet", path="train-*.parquet")
    assert [row.caption for row in rows] == ["one", "two", "three", "four"]
    assert rows[3].id == "train-00001-of-00002.parquet/1"
    assert rows[3].media == Media(str(tmp_path / "train-00001-of-00002.parquet"), "video/1")
    assert rows[3].extra == {"score": 1.5}


def test_a_list_of_captions_in_parquet_is_a_row_each(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": pa.array([{"bytes": b"1", "path": "1.jpg"}, {"bytes": b"2", "path": "2.jpg"}], HUB),
            "caption": [["one", "uno"], ["two"]],
            "filename": ["1.jpg", "2.jpg"],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    rows = read(tmp_path, format="parquet", path="t.parquet", columns={"id": "filename"})
    assert [(row.id, row.caption, row.media.member) for row in rows] == [
        ("1.jpg#0", "one", "image/0"),
        ("1.jpg#1", "uno", "image/0"),
        ("2.jpg#0", "two", "image/1"),
    ]


def test_paths_in_parquet_are_below_the_videos_or_urls_or_beside_the_file(tmp_path: Path) -> None:
    table = pa.table({"file": ["a.mp4", "s3://bucket/b.mp4", "/full/c.mp4"], "text": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "t.parquet")
    below = read(tmp_path, format="parquet", path="t.parquet", videos="v")
    assert [row.media.path for row in below] == [
        str(tmp_path / "v/a.mp4"),
        "s3://bucket/b.mp4",
        str(tmp_path / "v/full/c.mp4"),
    ]
    beside = read(tmp_path, format="parquet", path="t.parquet")
    assert [row.media.path for row in beside] == [str(tmp_path / "a.mp4"), "s3://bucket/b.mp4", "/full/c.mp4"]


def test_parquet_without_a_caption_names_the_columns_that_there_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": ["a.mp4"], "title": ["x"]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"no column caption; found video, title; expected caption, video"):
        read(tmp_path, format="parquet", path="t.parquet")


# A folder: a table beside videos, or texts beside them.


def test_a_folder_of_videos_with_texts_beside_them(tmp_path: Path) -> None:
    for name in ("a.mp4", "sub/b.GIF", "c.webp", "d.webm", "notes.md", "e.mp4"):
        write(tmp_path / "videos" / name, "media")
    for name, text in (("a", "a dog\n"), ("sub/b", " a cat "), ("c", ""), ("d", "ein\ufeff Café")):
        write(tmp_path / "videos" / f"{name}.txt", text)
    (tmp_path / "videos/bad.mp4").write_bytes(b"media")
    (tmp_path / "videos/bad.txt").write_bytes(b"caf\xe9")
    rows = by_id(tmp_path, format="folder", path="videos")
    assert rows.keys() == {"a.mp4", "sub/b.GIF", "c.webp", "d.webm", "e.mp4", "bad.mp4"}
    assert (rows["sub/b.GIF"].caption, rows["sub/b.GIF"].media) == (
        "a cat",
        Media(str(tmp_path / "videos/sub/b.GIF")),
    )
    assert rows["c.webp"].problem == "the caption is empty"
    assert rows["e.mp4"].problem == "there is no e.txt"
    assert rows["bad.mp4"].problem == "bad.txt is not UTF-8"


def test_a_folder_of_images_and_a_video_with_its_thumbnail(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.PNG", "c.jpeg", "film.mp4", "film.jpg"):
        write(tmp_path / name, "media")
        write((tmp_path / name).with_suffix(".txt"), f"this is {name}")
    write(tmp_path / "film_0001.png", "a frame of the film, without a caption")
    assert by_id(tmp_path, format="folder", path=".").keys() == {"a.jpg", "b.PNG", "c.jpeg", "film.mp4"}


def test_an_image_without_a_caption_is_told_where_all_are_images(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", "media")
    assert by_id(tmp_path, format="folder", path=".")["a.jpg"].problem == "there is no a.txt"


def test_a_folder_with_json_lines_whose_columns_have_other_names(tmp_path: Path) -> None:
    lines = [
        {"file_name": "a.mp4", "text": "a dog", "from": 1, "to": "0:04"},
        {"file_name": "b.mp4", "text": "x"},
    ]
    write(tmp_path / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    columns = {"path": "file_name", "caption": "text", "start": "from", "stop": "to"}
    first, second = read(tmp_path, format="folder", path="metadata.jsonl", columns=columns)
    assert (first.id, first.caption) == ("a.mp4", "a dog")
    assert first.media == Media(str(tmp_path / "a.mp4"), start=1.0, stop=4.0)
    assert second.problem == "its start and stop are no span of a video"


def test_a_licence_is_that_of_a_column_or_of_the_settings(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "file,caption,License\na.mp4,x,CC0\nb.mp4,y,\n")
    rows = by_id(tmp_path, format="folder", path="t.csv", licence="CC-BY-4.0")
    assert [row.licence for row in rows.values()] == ["CC0", "CC-BY-4.0"]


def test_a_column_of_the_settings_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "file,caption\n")
    with pytest.raises(UserError, match=r"no column title; found file, caption; expected file, title"):
        read(tmp_path, format="folder", path="t.csv", columns={"caption": "title"})


def test_a_path_of_the_settings_may_go_up(tmp_path: Path) -> None:
    base = tmp_path / "project"
    base.mkdir()
    shard(tmp_path / "set", 0, {"000000001": None})
    pq.write_table(pa.table({"video": [b"media"], "caption": ["x"]}), tmp_path / "t.parquet")
    write(tmp_path / "videos/a.mp4", "media")
    write(tmp_path / "videos/a.txt", "a dog")
    (tar,) = read(base, format="webdataset", path="../set")
    assert (tar.problem, tar.media.path) == (None, str(tmp_path / "set/00000.tar"))
    (cell,) = read(base, format="parquet", path="../*.parquet")
    assert (cell.problem, cell.media.path) == (None, str(tmp_path / "t.parquet"))
    for path in ("../videos", "./../videos/", f"file://{tmp_path}/videos"):
        (file,) = read(base, format="folder", path=path)
        assert (file.id, file.problem) == ("a.mp4", None)


# Any URL that fsspec opens.


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_a_source_may_lie_at_a_url(name: str) -> None:
    root = f"memory://{name}"
    row = {"file": "a.mp4", "caption": "a dog"}
    with fsspec.open(f"{root}/{name}", "wb", compression="infer") as file:
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist([row]), file)
        else:
            text = json.dumps(row) if name.endswith(".jsonl") else "file,caption\na.mp4,a dog"
            file.write(text.encode() + b"\n")
    for path in (f"{root}/{name}", f"{root}/*{name[1:]}"):
        (found,) = read(Path("/"), format="folder", path=path, videos=f"{root}/videos")
        assert (found.caption, found.media) == ("a dog", Media(f"{root}/videos/a.mp4"))


def test_tars_and_texts_may_lie_at_a_url(tmp_path: Path) -> None:
    shard(tmp_path, 0, {"000000001": None})
    for file in tmp_path.iterdir():
        with fsspec.open(f"memory://tars/{file.name}", "wb") as target:
            target.write(file.read_bytes())
    (row,) = read(Path("/"), format="webdataset", path="memory://tars")
    assert row.media == Media("memory://tars/00000.tar", "000000001.mp4")
    for name, data in (("a.mp4", b"media"), ("a.txt", b"a dog")):
        with fsspec.open(f"memory://texts/{name}", "wb") as target:
            target.write(data)
    (row,) = read(Path("/"), format="folder", path="memory://texts")
    assert (row.id, row.caption, row.media) == ("a.mp4", "a dog", Media("memory://texts/a.mp4"))


def test_a_protocol_that_is_not_known_is_told() -> None:
    with pytest.raises(UserError, match="nowhere://x"):
        read(Path("/"), format="folder", path="nowhere://x/t.csv")
