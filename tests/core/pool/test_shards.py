import os
import subprocess
import time
from pathlib import Path

import pytest
import webdataset

from onaspr_core.errors import UserError
from onaspr_core.pool.shards import (
    Clip,
    Place,
    index_shard,
    list_shards,
    read_clip_bytes,
    sweep_partials,
    write_shard,
)

CLIPS = [
    Clip("0a" * 20, b"\x00\x01moving pictures", "a café — 東京", {"frames": 3}),
    Clip("1b" * 20, b"x" * 1500, "a dog", {"frames": 4}),
]


def test_one_clip_is_one_range_of_its_shard(tmp_path: Path) -> None:
    for clip, place in zip(CLIPS, write_shard(str(tmp_path), CLIPS), strict=True):
        with open(tmp_path / place.shard, "rb") as file:
            file.seek(place.offset)
            assert file.read(place.length) == clip.mp4
        assert read_clip_bytes(str(tmp_path), place) == clip.mp4
        assert (place.key, place.record) == (clip.key, clip.record)


def test_webdataset_reads_the_shard(tmp_path: Path) -> None:
    (shard,) = {place.shard for place in write_shard(str(tmp_path), CLIPS)}
    samples = list(webdataset.WebDataset(str(tmp_path / shard), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == [clip.key for clip in CLIPS]
    assert [sample["txt"] for sample in samples] == [clip.caption for clip in CLIPS]
    assert [sample["json"] for sample in samples] == [clip.record for clip in CLIPS]
    assert [sample["mp4"] for sample in samples] == [clip.mp4 for clip in CLIPS]


def test_tar_reads_the_shard(tmp_path: Path) -> None:
    (shard,) = {place.shard for place in write_shard(str(tmp_path), CLIPS)}
    listed = subprocess.run(["tar", "tf", tmp_path / shard], check=True, capture_output=True, text=True)
    assert listed.stdout.split() == [f"{c.key}.{suffix}" for c in CLIPS for suffix in ("mp4", "txt", "json")]


def test_a_shard_is_named_by_its_bytes_and_writing_it_twice_is_writing_it_once(tmp_path: Path) -> None:
    assert write_shard(str(tmp_path), CLIPS) == write_shard(str(tmp_path), CLIPS)
    write_shard(str(tmp_path), CLIPS[:1])
    assert len(list_shards(str(tmp_path))) == 2
    assert [path.suffix for path in tmp_path.iterdir()] == [".tar", ".tar"]


def test_a_shard_can_be_indexed_from_its_file_alone(tmp_path: Path) -> None:
    places = write_shard(str(tmp_path), CLIPS)
    assert index_shard(str(tmp_path), places[0].shard) == places


def test_shards_on_another_filesystem_are_the_same_bytes(tmp_path: Path) -> None:
    local, remote = write_shard(str(tmp_path), CLIPS), write_shard("memory://shards", CLIPS)
    assert remote == local
    assert read_clip_bytes("memory://shards", remote[1]) == CLIPS[1].mp4
    assert list_shards("memory://shards") == list_shards(str(tmp_path))


def test_a_shard_that_was_cut_short_or_deleted_is_refused(tmp_path: Path) -> None:
    place = write_shard(str(tmp_path), CLIPS)[1]
    path = tmp_path / place.shard
    path.write_bytes(path.read_bytes()[: place.offset + 10])
    with pytest.raises(UserError, match="cut short"):
        read_clip_bytes(str(tmp_path), place)
    with pytest.raises(UserError, match="not one that was written here"):
        index_shard(str(tmp_path), place.shard)
    with pytest.raises(UserError, match="gone"):
        read_clip_bytes(str(tmp_path), Place("k", "clips-none.tar", 0, 5, {}))


def test_half_written_shards_are_no_shards_and_are_deleted_when_old(tmp_path: Path) -> None:
    for name in ("clips-1.tar.old.partial", "clips-2.tar.new.partial"):
        (tmp_path / name).write_bytes(b"half")
    an_age_ago = time.time() - 7200
    os.utime(tmp_path / "clips-1.tar.old.partial", (an_age_ago, an_age_ago))
    assert list_shards(str(tmp_path)) == set()
    sweep_partials(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["clips-2.tar.new.partial"]


def test_a_folder_that_does_not_exist_has_no_shards(tmp_path: Path) -> None:
    assert list_shards(str(tmp_path / "none")) == set()
    sweep_partials(str(tmp_path / "none"))
