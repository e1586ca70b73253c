"""Every form through the stages themselves: manifest, then clips, from real videos in that form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from onaspr_core.artifacts import content_key
from onaspr_core.pool.clips import clip_bytes, make_clips, read_clip
from onaspr_core.pool.manifest import build_manifest, pairs_named, pool_pairs, unusable_pairs
from onaspr_core.pool.shards import list_shards
from onaspr_core.settings import ClipSettings, PoolSettings, Settings
from onaspr_core.workspace import Workspace
from tests.core.pool.packed import write_tar

Write = Callable[..., Path]
CLIP = ClipSettings(resolution=32, frame_stride=1, max_frames=4, crf=20)

pytestmark = pytest.mark.usefixtures("cut_in_this_process")


def open_pool(base: Path, **told: Any) -> Workspace:
    pool = PoolSettings.model_validate({"clip": CLIP, **told})
    return Workspace(Settings(base=base, pools={"pool": pool}, backbones={}, experiments={}))


def webvid(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    video("000001_000050/1.mp4", seed=1), video("000001_000050/2.mp4", seed=2)
    lines = [f"{n},https://x.test/{n}.mp4,PT00H00M0{n}S,000001_000050,Caption {n}" for n in (1, 2)]
    (base / "t.csv").write_text("\n".join(["videoid,contentUrl,duration,page_dir,name", *lines]))
    return {"format": "webvid", "path": "t.csv", "videos": "videos"}


def openvid(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    video("1.mp4", seed=1), video("2.mp4", seed=2)
    lines = [f'{n}.mp4,"Caption {n}",{n}.5' for n in (1, 2)]
    (base / "t.csv").write_text("\n".join(["video,caption,aesthetic score", *lines]))
    return {"format": "openvid", "path": "t.csv", "videos": "videos"}


def internvid(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    video("v.mp4", frames=17)
    spans = [("00:00:00.000", "00:00:00.500"), ("00:00:01.000", "00:00:02.000")]
    keys = ("YoutubeID", "Start_timestamp", "End_timestamp", "Caption")
    rows = [dict(zip(keys, ("v", *span, f"Caption {n}"), strict=True)) for n, span in enumerate(spans, 1)]
    (base / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"format": "internvid", "path": "t.jsonl", "videos": "videos"}


def panda70m(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    video("v.mp4", frames=17)
    spans = [["0:00:00.000", "0:00:00.500"], ["0:00:01.000", "0:00:02.000"]]
    line = f'v,https://x.test/v,"{spans}","{["Caption 1", "Caption 2"]}"'
    (base / "t.csv").write_text(f"videoID,url,timestamp,caption\n{line}\n")
    return {"format": "panda70m", "path": "t.csv", "videos": "videos"}


def flickr30k(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    (base / "images").mkdir()
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(base / "images/1.jpg")
    (base / "results.token").write_text("1.jpg#0\tCaption 1\n1.jpg#1\tCaption 2\n")
    return {"format": "flickr30k", "path": "results.token", "videos": "images"}


def webdataset(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    members, rows = {}, []
    for n in (1, 2, 3):
        status = "failed_to_download" if n == 3 else "success"
        row = {"key": f"00000000{n}", "caption": f"Caption {n}", "status": status, "error_message": None}
        rows.append(row)
        if n != 3:
            members[f"{row['key']}.mp4"] = video(f"{n}.mp4", seed=n).read_bytes()
            members[f"{row['key']}.txt"] = f"Caption {n}".encode()
            members[f"{row['key']}.json"] = json.dumps(row).encode()
    write_tar(base / "set/00000.tar", members)
    pq.write_table(pa.Table.from_pylist(rows), base / "set/00000.parquet")
    return {"format": "webdataset", "path": "set"}


def parquet(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    cells = [{"bytes": video(f"{n}.mp4", seed=n).read_bytes(), "path": None} for n in (1, 2)]
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"video": pa.array(cells, form), "caption": ["Caption 1", "Caption 2"]})
    pq.write_table(table, base / "train-00000-of-00001.parquet")
    return {"format": "parquet", "path": "*.parquet"}


def folder(base: Path, video: Callable[..., Path]) -> dict[str, Any]:
    for n in (1, 2):
        video(f"{n}.mp4", seed=n).with_suffix(".txt").write_text(f"Caption {n}\n")
    frames = [Image.fromarray(np.full((32, 32, 3), level, np.uint8)) for level in (10, 90, 200)]
    for n, suffix in ((3, "gif"), (4, "webp")):
        frames[0].save(base / f"videos/{n}.{suffix}", save_all=True, append_images=frames[1:], duration=100)
        (base / f"videos/{n}.txt").write_text(f"Caption {n}")
    return {"format": "folder", "path": "videos"}


FORMS = (webvid, openvid, internvid, panda70m, flickr30k, webdataset, parquet, folder)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_clips_that_a_second_run_leaves_alone(
    form: Callable[..., dict[str, Any]], tmp_path: Path, write_video: Write
) -> None:
    told = form(tmp_path, write_video)
    workspace = open_pool(tmp_path, **told)
    manifest, made = build_manifest(workspace), make_clips(workspace)
    pairs = pool_pairs(workspace, "pool")
    captions = {pair.caption for pair in pairs}
    assert captions >= {"Caption 1", "Caption 2"}
    assert "Caption 3" not in captions or form is folder
    for pair in pairs:
        frames = read_clip(workspace, str(pair.clip_key))
        assert frames.shape[1:] == (32, 32, 3) and 1 <= len(frames) <= 4
    distinct = {pair.clip_key for pair in pairs}
    assert len(distinct) == (1 if form is flickr30k else len(pairs))
    workspace = open_pool(tmp_path, **told)
    again, kept = build_manifest(workspace), make_clips(workspace)
    assert (again.computed, kept.computed) == (0, 0)
    assert (again.version, kept.version) == (manifest.version, made.version)


def test_spans_of_one_video_show_other_frames(tmp_path: Path, write_video: Write) -> None:
    workspace = open_pool(tmp_path, **internvid(tmp_path, write_video))
    build_manifest(workspace)
    make_clips(workspace)
    levels = {
        p.caption: float(read_clip(workspace, str(p.clip_key))[0].mean())
        for p in pool_pairs(workspace, "pool")
    }
    # The video's n-th frame has the grey level 20 n, at 8 frames a second.
    assert levels["Caption 1"] == pytest.approx(0, abs=8)
    assert levels["Caption 2"] == pytest.approx(160, abs=8)


def test_a_filter_chooses_what_becomes_clips_and_extra_columns_travel_along(
    tmp_path: Path, write_video: Write
) -> None:
    told = webvid(tmp_path, write_video)
    workspace = open_pool(tmp_path, **told, filter=[{"column": "duration", "between": [2, 30]}])
    build_manifest(workspace)
    make_clips(workspace)
    assert [pair.id for pair in pool_pairs(workspace, "pool")] == ["2"]
    ((_, extra),) = pairs_named(workspace, "2")
    assert extra == {
        "contentUrl": "https://x.test/2.mp4",
        "duration": "PT00H00M02S",
        "page_dir": "000001_000050",
    }


@pytest.mark.parametrize("name", ["2", "https://x.test/2.mp4"])
def test_a_withdrawn_video_is_gone_from_shards_and_so_is_its_inverted_noise(
    tmp_path: Path, write_video: Write, name: str
) -> None:
    told = webvid(tmp_path, write_video)
    (tmp_path / "takedown.txt").write_text("")
    workspace = open_pool(tmp_path, **told, takedown="takedown.txt")
    build_manifest(workspace)
    make_clips(workspace)
    keys = {pair.id: str(pair.clip_key) for pair in pool_pairs(workspace, "pool")}
    withdrawn = clip_bytes(workspace, keys["2"])
    latents = {id_: content_key("inverted-latent", clip=key) for id_, key in keys.items()}
    for id_, key in keys.items():
        record = {"clip_key": key, "pair_id": id_, "pool": "pool"}
        workspace.store.write("inverted-latent", latents[id_], ".safetensors", b"noise", record)
    (tmp_path / "takedown.txt").write_text(f"{name}\n")
    workspace = open_pool(tmp_path, **told, takedown="takedown.txt")
    build_manifest(workspace)
    outcome = make_clips(workspace)
    assert outcome.facts["clips_dropped"] == outcome.facts["withdrawn_latents_deleted"] == 1
    assert workspace.store.keys("inverted-latent") == [latents["1"]]
    assert [pair.id for pair in pool_pairs(workspace, "pool")] == ["1"]
    (shard,) = list_shards(workspace.shards_path)
    assert withdrawn not in b"".join(
        file.read_bytes() for file in Path(workspace.shards_path).rglob(f"{shard}*")
    )
    assert len(read_clip(workspace, keys["1"])) == 4


def test_a_video_that_left_its_pool_before_it_was_withdrawn_goes_too(
    tmp_path: Path, write_video: Write
) -> None:
    told = webvid(tmp_path, write_video)
    workspace = open_pool(tmp_path, **told)
    build_manifest(workspace)
    make_clips(workspace)
    first, second = (pair for pair in pool_pairs(workspace, "pool"))
    workspace = open_pool(tmp_path, **told, size=1)
    build_manifest(workspace)
    make_clips(workspace)
    assert clip_bytes(workspace, str(second.clip_key)), "kept for a way back"
    (tmp_path / "takedown.txt").write_text(f"https://x.test/{second.id}.mp4\n")
    workspace = open_pool(tmp_path, **told, size=1, takedown="takedown.txt")
    build_manifest(workspace)
    assert make_clips(workspace).facts["clips_dropped"] == 1
    assert [pair.id for pair in pool_pairs(workspace, "pool")] == [first.id]


def test_what_the_rules_leave_out_is_not_unusable_and_reasons_can_be_counted(
    tmp_path: Path, write_video: Write
) -> None:
    write_video("a.mp4", seed=1), write_video("b.mp4", seed=2)
    (tmp_path / "t.csv").write_text("file,caption\na.mp4,same\nb.mp4,same\nc.mp4\nd.mp4\ne.mp4,gone\n")
    workspace = open_pool(tmp_path, format="folder", path="t.csv", videos="videos", equal_captions="refuse")
    build_manifest(workspace)
    make_clips(workspace)
    short = "a line of the table has fewer columns than its header"
    assert dict(unusable_pairs(workspace, "pool")) == {
        "c.mp4": short,
        "d.mp4": short,
        "e.mp4": "there is no such file",
    }
