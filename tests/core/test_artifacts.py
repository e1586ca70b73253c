import hashlib
import json
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from onaspr_core.artifacts import ArtifactStore, canonical_json, content_key
from onaspr_core.errors import UserError


def test_a_key_depends_on_values_and_not_on_their_spelling() -> None:
    assert content_key("video", eta=0.30, steps=50) == content_key("video", steps=50.0, eta=0.3)
    assert content_key("video", eta=0.3) != content_key("video", eta=0.31)
    assert content_key("video", eta=0.3) != content_key("latent", eta=0.3)
    assert content_key("x", a=-0.0) == content_key("x", a=0)
    assert content_key("x", a=1) != content_key("x", a=True)


def test_infinity_has_a_key_and_nan_has_none() -> None:
    assert canonical_json({"eta": math.inf}) == '{"eta":"inf"}'
    with pytest.raises(ValueError, match="NaN"):
        content_key("video", eta=math.nan)


def test_an_item_reads_back_with_what_it_was_made_from(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    key = content_key("video", a=1)
    assert not store.has("video", key)
    store.write("video", key, ".mp4", b"frames", {"eta": 0.5})
    assert store.read("video", key) == b"frames"
    record = store.record("video", key)
    assert (record["eta"], record["bytes"], record["suffix"]) == (0.5, 6, ".mp4")
    assert Path(store.url("video", key)).read_bytes() == b"frames"


def test_arrays_and_json_read_back_exactly(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    array = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    store.write_tensors("latent", "ab" * 20, {"noise": array}, {})
    assert np.array_equal(store.read_tensors("latent", "ab" * 20)["noise"], array)
    store.write_json("rewrite", "cd" * 20, {"text": "naïve"}, {})
    assert store.read_json("rewrite", "cd" * 20) == {"text": "naïve"}


def test_existing_lists_what_is_there_and_nothing_else(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    keys = [content_key("x", n=n) for n in range(20)]
    for key in keys[:7]:
        store.write("x", key, ".bin", b"1", {})
    assert store.existing("x", keys) == set(keys[:7])
    assert store.existing("y", keys) == set()


def test_keys_are_found_by_their_first_digits_and_by_the_bytes_they_were_stored_with(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "[odd] root"))
    for key, data in (("ab1", b"one"), ("ab2", b"two"), ("ac3", b"one"), ("b14", b"one")):
        store.write("x", key.ljust(40, "0"), ".bin", data, {})
    short = [key[:3] for key in store.keys("x", "a")]
    assert short == ["ab1", "ab2", "ac3"] == [key[:3] for key in store.keys("x")][:3]
    assert [key[:3] for key in store.keys("x", "ab")] == ["ab1", "ab2"]
    assert [key[:3] for key in store.keys("x", "ab2")] == ["ab2"]
    assert store.keys("x", "ad") == store.keys("y", "a") == []
    one = hashlib.sha256(b"one").hexdigest()
    assert [key[:3] for key in store.keys_of_content("x", one)] == ["ab1", "ac3", "b14"]
    assert store.keys_of_content("x", hashlib.sha256(b"three").hexdigest()) == []
    store.write("x", "ab1".ljust(40, "0"), ".bin", b"again", {})
    assert [key[:3] for key in store.keys_of_content("x", one)] == ["ab1", "ac3", "b14"]


def test_files_that_a_killed_run_left_are_no_items(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    store.write("x", "ab" * 20, ".bin", b"1", {})
    stem = tmp_path / "x" / "ab" / ("ab" * 20)
    digest = hashlib.sha256(b"1").hexdigest()
    Path(f"{stem}.record.json").rename(f"{stem}.record.json.0123.partial")
    assert store.keys("x") == store.keys_of_content("x", digest) == []


@pytest.mark.parametrize("damage", [b"", b"[1]", b'{"sha256": "0"}', b"\xff\xfe"])
def test_a_damaged_record_is_named_with_what_to_do(tmp_path: Path, damage: bytes) -> None:
    store = ArtifactStore(str(tmp_path))
    store.write("video", "ab" * 20, ".mp4", b"1", {})
    record = tmp_path / "video" / "ab" / f"{'ab' * 20}.record.json"
    record.write_bytes(damage)
    with pytest.raises(UserError, match="the videos of its variant to have it made again") as refused:
        store.record("video", "ab" * 20)
    assert str(record) in str(refused.value)
    assert not store.has("video", "ab" * 20)


def test_a_payload_without_its_record_does_not_exist(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    key = content_key("x", n=0)
    store.write("x", key, ".bin", b"1", {})
    next(tmp_path.rglob("*.record.json")).unlink()
    assert not store.has("x", key)
    with pytest.raises(UserError, match="not in the store"):
        store.read("x", key)


def test_damaged_bytes_are_found_when_read_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    store.write("x", "ef" * 20, ".bin", b"12345", {})
    next(tmp_path.rglob("*.bin")).write_bytes(b"12x45")
    with pytest.raises(UserError, match=r"damaged: it has 5 bytes that .*; materialize the asset that makes"):
        store.read("x", "ef" * 20)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "record"])
def test_a_damaged_item_does_not_exist_until_it_is_made_again_and_that_is_counted(
    tmp_path: Path, damage: str
) -> None:
    store, key = ArtifactStore(str(tmp_path)), "ef" * 20
    store.write("video", key, ".bin", b"12345", {"variant": "ona", "eta": 0.5})
    payload, record = next(tmp_path.rglob("*.bin")), next(tmp_path.rglob("*.record.json"))
    if damage == "gone":
        payload.unlink()
    elif damage == "record":
        record.write_text(record.read_text().replace("0.5", "0.6"))
    else:
        payload.write_bytes(b"12x45" if damage == "flipped" else b"123")
    with pytest.raises(UserError, match="is damaged"):
        store.read("video", key)
    assert not store.has("video", key) and store.existing("video", [key]) == set()
    assert store.damaged == {("video", key)}
    store.write("video", key, ".bin", b"12345", {"variant": "ona", "eta": 0.5})
    assert store.existing("video", [key]) == {key} and store.read("video", key) == b"12345"
    assert store.repaired == 1
    store.write("video", key, ".bin", b"12345", {})
    assert store.repaired == 1


def test_an_item_whose_payload_is_gone_is_missing_without_being_read(tmp_path: Path) -> None:
    store, key = ArtifactStore(str(tmp_path)), "ef" * 20
    for one in (key, "ee" * 20):
        store.write("x", one, ".bin", b"12345", {})
    next(tmp_path.rglob(f"{key}-*.bin")).unlink()
    assert store.existing("x", [key, "ee" * 20]) == {"ee" * 20}
    assert store.damaged == {("x", key)}


def test_an_array_that_is_not_finite_is_not_stored_and_one_that_was_is_set_aside(tmp_path: Path) -> None:
    store, key = ArtifactStore(str(tmp_path)), "ef" * 20
    broken = {"noise": np.array([0.0, np.nan], np.float16)}
    with pytest.raises(UserError, match="not stored: noise holds values that are not finite"):
        store.write_tensors("inverted-latent", key, broken, {})
    assert not store.has("inverted-latent", key)
    store.write("inverted-latent", key, ".safetensors", save(broken), {})
    with pytest.raises(UserError, match="not finite; materialize inverted_latents"):
        store.read_tensors("inverted-latent", key)
    assert not store.has("inverted-latent", key)


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"no arrays",
        b"[" * 100_000,
        b"\x08" + bytes(7) + b"\xff" * 8,
        save({"a": np.zeros(2, np.float32)}).replace(b'"F32"', b'"F99"'),
        save({"a": np.zeros(2, np.float16)}).replace(b'"F16"', b'"BF16"').replace(b"}}  ", b"}} "),
    ],
)
def test_an_item_that_is_not_of_its_form_is_set_aside(tmp_path: Path, forged: bytes) -> None:
    store = ArtifactStore(str(tmp_path))
    for key, read in (("ab" * 20, store.read_tensors), ("cd" * 20, store.read_json)):
        store.write("inverted-latent", key, ".safetensors", forged, {})
        with pytest.raises(UserError, match=r"cannot be read as what it is: .*materialize inverted"):
            read("inverted-latent", key)
        assert not store.has("inverted-latent", key)
        assert ("inverted-latent", key) in store.damaged


def test_two_writers_of_one_item_leave_one_of_them_whole_however_they_interleave(tmp_path: Path) -> None:
    key = "ab" * 20

    class BetweenPayloadAndRecord(ArtifactStore):
        """A writer in whose middle another one writes the same item with other bytes."""

        def _put(self, path: str, data: bytes) -> None:
            super()._put(path, data)
            if not path.endswith(".record.json"):
                ArtifactStore(str(tmp_path)).write("x", key, ".bin", b"theirs", {"by": "them"})

    store = BetweenPayloadAndRecord(str(tmp_path))
    store.write("x", key, ".bin", b"ours", {"by": "us"})
    assert store.record("x", key)["by"] == "us"
    assert store.read("x", key) == b"ours"


def test_a_memory_filesystem_serves_as_a_store_too() -> None:
    store = ArtifactStore("memory://store-test")
    store.write("x", "aa" * 20, ".bin", b"1", {"n": 1})
    assert store.existing("x", ["aa" * 20, "bb" * 20]) == {"aa" * 20}
    assert store.read("x", "aa" * 20) == b"1"


def write_for_ever(folder: str) -> None:
    store = ArtifactStore(folder)
    number = 0
    while True:
        store.write("x", content_key("x", n=number), ".bin", os.urandom(200_000), {"n": number})
        number += 1


def test_a_killed_writer_leaves_whole_items_only(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=write_for_ever, args=(str(tmp_path),))
    process.start()
    deadline = time.monotonic() + 60
    while len(list(tmp_path.rglob("*.record.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = ArtifactStore(str(tmp_path))
    records = list(tmp_path.rglob("*.record.json"))
    assert len(records) >= 5
    for record in records:
        number = json.loads(record.read_text())["n"]
        assert len(store.read("x", content_key("x", n=number))) == 200_000
