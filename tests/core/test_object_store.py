"""Store, shards, table of captions and reports on S3: what is asked of it, and what a fault leaves there."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onaspr_core.artifacts import RECORD_SUFFIX, ArtifactStore, content_key
from onaspr_core.errors import StoreError, UserError
from onaspr_core.folders import Folder
from onaspr_core.pool.shards import Clip, index_shard, list_shards, read_clip_bytes, write_shard
from onaspr_core.reports.files import ReportFile, write_files
from onaspr_core.retrieval.table import ROW, CaptionTable, drop_others, tables_of
from onaspr_core.sealing import unsealed
from onaspr_core.settings import load_settings
from onaspr_core.verification import main
from onaspr_core.workspace import Workspace
from tests.object_store import SECRET, ObjectStore

KEYS = [f"ab{number:038x}" for number in range(12)]
CLIPS = [Clip("0a" * 20, b"\x00moving pictures", "a café", {}), Clip("1b" * 20, b"x" * 1500, "a dog", {})]
FINGERPRINT = "f" * 40


def methods(asked: list[str]) -> list[str]:
    return [line.split()[0] for line in asked]


def test_a_payload_is_put_before_its_record_each_in_one_request(
    bucket: str, object_store: ObjectStore
) -> None:
    store = ArtifactStore(f"{bucket}/artifacts")
    with object_store.counted() as asked:
        store.write("x", KEYS[0], ".bin", b"1", {})
    assert methods(asked) == ["PUT", "PUT", "GET"]
    assert ".bin" in asked[0] and RECORD_SUFFIX in asked[1]
    assert store.url("x", KEYS[0]).startswith(f"{bucket}/artifacts/x/ab/{KEYS[0]}-")


def test_many_keys_are_one_listing_and_a_clip_is_one_range(bucket: str, object_store: ObjectStore) -> None:
    store = ArtifactStore(f"{bucket}/artifacts")
    for key in KEYS[:5]:
        store.write("x", key, ".bin", b"1", {})
    with object_store.counted() as asked:
        assert store.existing("x", KEYS) == set(KEYS[:5])
    assert methods(asked) == ["GET"] and "list-type=2" in asked[0]
    places = write_shard(f"{bucket}/shards", CLIPS)
    with object_store.counted() as asked:
        assert read_clip_bytes(f"{bucket}/shards", places[1]) == CLIPS[1].mp4
    assert methods(asked) == ["GET"]


def test_what_another_process_writes_and_deletes_is_seen_at_once(
    bucket: str, object_store: ObjectStore
) -> None:
    store, elsewhere = ArtifactStore(f"{bucket}/artifacts"), object_store.aside()
    write_shard(f"{bucket}/shards", CLIPS)
    store.write("x", KEYS[0], ".bin", b"1", {})
    assert store.existing("x", KEYS) == {KEYS[0]} and len(list_shards(f"{bucket}/shards")) == 1
    for path in elsewhere.find(bucket):
        elsewhere.copy(path, path.replace(KEYS[0], KEYS[1]).replace("clips-", "clips-copy-"))
    assert store.existing("x", KEYS) == set(KEYS[:2])
    assert sorted(store.keys("x")) == KEYS[:2] and store.kinds() == ["x"]
    assert len(list_shards(f"{bucket}/shards")) == 2
    elsewhere.rm(f"{bucket}/artifacts/x/ab/{KEYS[0]}{RECORD_SUFFIX}")
    assert store.existing("x", KEYS) == {KEYS[1]} and not store.has("x", KEYS[0])


def test_an_upload_that_was_abandoned_is_nothing(bucket: str, object_store: ObjectStore) -> None:
    store, elsewhere = ArtifactStore(f"{bucket}/artifacts"), object_store.aside()
    store.write("x", KEYS[0], ".bin", b"1", {})
    shard = write_shard(f"{bucket}/shards", CLIPS)[0].shard
    for url in (store.url("x", KEYS[0]), f"{bucket}/shards/{shard}"):
        name, _, key = url.removeprefix("s3://").partition("/")
        begun = elsewhere.call_s3("create_multipart_upload", Bucket=name, Key=key)
        part = {"Bucket": name, "Key": key, "UploadId": begun["UploadId"], "PartNumber": 1}
        elsewhere.call_s3("upload_part", Body=b"half", **part)
        other = {"Bucket": name, "Key": key.replace(KEYS[0], KEYS[1]).replace("clips-", "clips-half-")}
        elsewhere.call_s3("create_multipart_upload", **other)
    assert store.existing("x", KEYS) == {KEYS[0]} and store.read("x", KEYS[0]) == b"1"
    assert list_shards(f"{bucket}/shards") == {shard}
    store.write("x", KEYS[1], ".bin", b"2", {})
    assert store.read("x", KEYS[1]) == b"2"


def write_for_ever(url: str) -> None:
    store, number = ArtifactStore(url), 0
    while True:
        store.write("x", content_key("x", n=number), ".bin", os.urandom(200_000), {"n": number})
        number += 1


def test_a_killed_writer_leaves_whole_objects_only(bucket: str, object_store: ObjectStore) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=write_for_ever, args=(f"{bucket}/artifacts",)
    )
    process.start()
    store, deadline = ArtifactStore(f"{bucket}/artifacts"), time.monotonic() + 120
    while len(store.keys("x")) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    keys = store.keys("x")
    assert len(keys) >= 3 and store.existing("x", keys) == set(keys)
    elsewhere = object_store.aside()
    for path in elsewhere.find(bucket):
        data = elsewhere.cat_file(path)
        if path.endswith(RECORD_SUFFIX):
            assert unsealed(data) is not None
        else:
            assert len(data) == 200_000 and hashlib.sha256(data).hexdigest()[:8] in path
    number = len(keys)
    store.write("x", content_key("x", n=number), ".bin", b"goes on", {})
    assert store.read("x", content_key("x", n=number)) == b"goes on"


def test_a_damaged_object_is_found_set_aside_and_made_again(bucket: str, object_store: ObjectStore) -> None:
    store, elsewhere = ArtifactStore(f"{bucket}/artifacts"), object_store.aside()
    for key in KEYS[:4]:
        store.write("inverted-latent", key, ".bin", key.encode(), {})
    elsewhere.pipe_file(store.url("inverted-latent", KEYS[0]), KEYS[0].encode()[:-1] + b"?")
    elsewhere.pipe_file(store.url("inverted-latent", KEYS[1]), b"")
    elsewhere.rm(store.url("inverted-latent", KEYS[2]))
    for key in KEYS[:3]:
        with pytest.raises(UserError, match=r"is damaged.*materialize inverted_latents"):
            store.read("inverted-latent", key)
    assert store.existing("inverted-latent", KEYS) == {KEYS[3]}
    for key in KEYS[:3]:
        store.write("inverted-latent", key, ".bin", key.encode(), {})
    assert store.repaired == 3 and store.existing("inverted-latent", KEYS) == set(KEYS[:4])
    assert [store.read("inverted-latent", key) for key in KEYS[:4]] == [key.encode() for key in KEYS[:4]]
    store.delete("inverted-latent", KEYS[0])
    assert store.existing("inverted-latent", KEYS) == set(KEYS[1:4])


def test_shards_are_the_bytes_that_they_are_on_a_disk(
    bucket: str, object_store: ObjectStore, tmp_path: Path
) -> None:
    local, remote = write_shard(str(tmp_path), CLIPS), write_shard(f"{bucket}/shards", CLIPS)
    assert remote == local == index_shard(f"{bucket}/shards", local[0].shard)
    object_store.aside().pipe_file(f"{bucket}/shards/{local[0].shard}", b"short")
    with pytest.raises(UserError, match="cut short; materialize pool_clips"):
        read_clip_bytes(f"{bucket}/shards", local[1])


def test_a_store_that_is_away_condemns_no_item(bucket: str, object_store: ObjectStore) -> None:
    store = ArtifactStore(f"{bucket}/artifacts")
    store.write("x", KEYS[0], ".bin", b"1", {})
    place = write_shard(f"{bucket}/shards", CLIPS)[0]
    with object_store.strict():
        for ask in (
            lambda: ArtifactStore(f"{bucket}/artifacts").existing("x", KEYS),
            lambda: ArtifactStore(f"{bucket}/artifacts").read("x", KEYS[0]),
            lambda: read_clip_bytes(f"{bucket}/shards", place),
            lambda: index_shard(f"{bucket}/shards", place.shard),
            lambda: list(write_all(bucket)),
        ):
            with pytest.raises(StoreError, match="keys are not accepted"):
                ask()
    assert store.existing("x", KEYS) == {KEYS[0]} and not store.damaged


def write_all(bucket: str) -> list[str]:
    """Write a report that shows an item; its files."""
    store, folder = ArtifactStore(f"{bucket}/artifacts"), Folder(f"{bucket}/reports") / "one"
    shown = ReportFile("videos/a.bin", "k1", lambda: store.read("x", KEYS[0]))
    outcome = write_files("gallery", folder, [shown, ReportFile("i.html", "k2", lambda: b"<p>")], prune=True)
    assert not outcome.failures
    return sorted(folder.sizes())


def test_a_report_is_written_once_and_what_it_shows_no_more_is_removed(
    bucket: str, object_store: ObjectStore
) -> None:
    ArtifactStore(f"{bucket}/artifacts").write("x", KEYS[0], ".bin", b"1", {})
    before = write_all(bucket)
    assert [path.rpartition("/one/")[2] for path in before] == [".gallery.json", "i.html", "videos/a.bin"]
    with object_store.counted() as asked:
        assert write_all(bucket) == before
    assert set(methods(asked)) == {"GET"} and len(asked) == 4
    folder = Folder(f"{bucket}/reports") / "one"
    write_files("gallery", folder, [ReportFile("i.html", "k3", lambda: b"<b>")], prune=True)
    assert folder.names("videos") == [] and folder.read("i.html") == b"<b>"


def rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    return pa.Table.from_pylist(
        [
            {
                "key": f"k{n}",
                "caption": f"caption {n}",
                "rank": n,
                "pairs": [{"rank": n, "id": f"p{n}", "clip": "c"}],
            }
            for n in numbers
        ],
        ROW,
    )


def write_rows(url: str, first: int) -> None:
    for part in range(3):
        start = first + 2 * part
        vectors = np.full((2, 8), start, np.float32)
        CaptionTable(url, FINGERPRINT, "pool").upsert(rows(start, 2), vectors)


def test_two_writers_of_captions_lose_nothing(bucket: str) -> None:
    url = f"{bucket}/captions.lance"
    CaptionTable(url, FINGERPRINT, "pool").upsert(rows(0, 1), np.zeros((1, 8), np.float32))
    writers = [threading.Thread(target=write_rows, args=(url, first)) for first in (100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    table = CaptionTable(url, FINGERPRINT, "pool")
    expected = sorted([0, *range(100, 106), *range(200, 206)])
    assert sorted(table.rows()["rank"].to_pylist()) == table.pair_ranks().tolist() == expected
    assert table.vectors(["k204"])["k204"].tolist() == [204.0] * 8
    version = table.lance.version
    table.delete(["k0"])
    table.settle()
    assert CaptionTable(url, FINGERPRINT, "pool", version).rows().num_rows == 13
    table.forget_past()
    assert CaptionTable(url, FINGERPRINT, "pool").rows().num_rows == 12
    with pytest.raises(UserError, match="materialize caption_embeddings"):
        CaptionTable(url, FINGERPRINT, "pool", version).rows()
    assert [one.pool for one in tables_of(url, FINGERPRINT)] == ["pool"]
    drop_others(url, [])
    assert tables_of(url, FINGERPRINT) == [] and not Folder(url).sizes()


def test_a_table_that_was_only_begun_is_none(bucket: str) -> None:
    url = f"{bucket}/captions.lance"
    table = CaptionTable(url, FINGERPRINT, "pool")
    Folder(url).write(f"{table.name}.lance/data/begun", b"1")
    assert [one.pool for one in tables_of(url, FINGERPRINT)] == ["pool"] and table.lance is None


def test_captions_that_cannot_be_reached_are_told(bucket: str, object_store: ObjectStore) -> None:
    for environment, url, told in (
        ({}, f"{bucket}-gone/captions.lance", "there is no such bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, f"{bucket}/captions.lance", "does not answer"),
    ):
        with object_store.reached(**environment), pytest.raises(StoreError, match=told) as raised:
            CaptionTable(url, FINGERPRINT, "pool").rows()
        assert SECRET not in str(raised.value)
    with object_store.strict(), pytest.raises(StoreError, match="keys are not accepted") as raised:
        CaptionTable(f"{bucket}/captions.lance", FINGERPRINT, "pool").rows()
    assert SECRET not in str(raised.value) and "loopback" not in str(raised.value)


def test_a_store_on_s3_is_verified(
    bucket: str, object_store: ObjectStore, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = settings_file.read_text()
    settings_file.write_text(text.replace('root = "store"', f'root = "{bucket}/kept/"'))
    workspace = Workspace(load_settings(settings_file))
    for key in KEYS[:3]:
        workspace.store.write("video", key, ".mp4", key.encode(), {})
    shard = write_shard(workspace.shards_path, CLIPS)[0].shard
    CaptionTable(workspace.lance_path, FINGERPRINT, "p").upsert(rows(0, 2), np.zeros((2, 8), np.float32))
    with workspace.catalog.write() as connection:
        connection.execute("create table t (n integer)")
    assert workspace.catalog.path == settings_file.parent / "data" / "local" / "catalog.duckdb"
    words = ["verify", "--settings", str(settings_file)]
    assert main(words) == 0
    told = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert [told[kind][0] for kind in ("video", "shard", "catalog", "captions")] == ["3", "1", "1", "1"]
    elsewhere = object_store.aside()
    elsewhere.pipe_file(workspace.store.url("video", KEYS[0]), b"other")
    elsewhere.pipe_file(f"{workspace.shards_path}/{shard}", b"other")
    assert main([*words, "--remove"]) == 1
    said = capsys.readouterr().out
    assert KEYS[0] in said and f"{shard}: its bytes are not those that were written; it is deleted" in said
    assert main(words) == 0 and list_shards(workspace.shards_path) == set()
    with object_store.strict():
        assert main(words) == 2
    assert "the keys are not accepted" in capsys.readouterr().err
