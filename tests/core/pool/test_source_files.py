import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

from onaspr_core.pool import digests as hashing
from onaspr_core.pool import source_files
from onaspr_core.pool.digests import Digest, digests
from onaspr_core.pool.media import Media, open_media
from onaspr_core.pool.source_files import hash_media, known_media, look_at_parts
from onaspr_core.pool.workers import HUNG
from onaspr_core.workspace import Workspace
from tests.core.pool.packed import write_parquet, write_tar

Place = Callable[[], list[Media]]


def look(workspace: Workspace, media: Sequence[Media]) -> tuple[dict[Media, str], dict[Media, str]]:
    """What is seen of media: hashes, and reasons for none."""
    of = {(one.path, one.member): one for one in media}
    hashes, reasons = look_at_parts(workspace, of)
    return {of[part]: told for part, told in hashes.items()}, {of[part]: why for part, why in reasons.items()}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Media]:
    """What was opened to be read."""
    seen: list[Media] = []

    def watched(one: Media) -> object:
        seen.append(one)
        return open_media(one)

    def here(
        jobs: Iterable[Any], work: Callable[[Any], Digest], *_: object, **__: object
    ) -> Iterator[Digest]:
        return map(work, jobs)

    monkeypatch.setattr(hashing, "open_media", watched)
    monkeypatch.setattr(hashing, "run_jobs", here)
    return seen


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_hash_is_that_of_the_bytes_wherever_they_lie(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"one")
    tar = str(write_tar(tmp_path / "0.tar", {"x.mp4": b"one", "y.mp4": b"two"}))
    parquet = str(write_parquet(tmp_path / "0.parquet", [b"two", b"one"]))
    hashes = hash_media(
        workspace,
        [
            Media(str(tmp_path / "a.mp4")),
            Media(tar, "x.mp4"),
            Media(tar, "y.mp4"),
            Media(parquet, "video/0"),
            Media(parquet, "plain/1"),
        ],
    )
    assert list(hashes.values()).count(sha(b"one")) == 3
    assert hashes[Media(tar, "y.mp4")] == hashes[Media(parquet, "video/0")] == sha(b"two")


def test_what_is_missing_or_broken_has_no_hash_and_stops_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"one")
    (tmp_path / "b.tar").write_bytes(b"no tar")
    (tmp_path / "folder").mkdir()
    tar = str(write_tar(tmp_path / "0.tar", {"x.mp4": b"one"}))
    parquet = str(write_parquet(tmp_path / "0.parquet", [b"two", None]))
    good = Media(str(tmp_path / "a.mp4"))
    bad = [
        Media(str(tmp_path / "none.mp4")),
        Media(str(tmp_path / "folder")),
        Media(str(tmp_path / "b.tar"), "x.mp4"),
        Media(str(tmp_path / "none.tar"), "x.mp4"),
        Media(tar, "none.mp4"),
        Media(parquet, "video/1"),
        Media(parquet, "video/7"),
        Media(parquet, "none/0"),
        Media("memory://none/a.mp4"),
        Media("noprotocol://none/a.mp4"),
    ]
    hashes, reasons = look(workspace, [*bad, good])
    assert hashes == hash_media(workspace, [*bad, good]) == {good: sha(b"one")}
    assert [reasons[one].partition(": ")[0] for one in bad] == [
        f"there is no file {bad[0]}",
        "the file cannot be read",
        "unreadable tar",
        f"there is no file {bad[3].path}",
        "no such part",
        "no bytes in the cell",
        "no such part",
        "no such part",
        f"there is no file {bad[8]}",
        "the file cannot be read",
    ]


def test_what_has_not_changed_is_not_read_again(
    workspace: Workspace, tmp_path: Path, opened: list[Media]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"one")
    tar = write_tar(tmp_path / "0.tar", {"x.mp4": b"one", "y.mp4": b"two"})
    media = [Media(str(tmp_path / "a.mp4")), Media(str(tar), "x.mp4"), Media(str(tar), "y.mp4")]
    first = hash_media(workspace, media)
    assert len(opened) == 3
    opened.clear()
    assert hash_media(workspace, media) == first
    assert opened == []
    write_tar(tar, {"x.mp4": b"new one", "y.mp4": b"two"})
    second = hash_media(workspace, media)
    assert second == first | {Media(str(tar), "x.mp4"): sha(b"new one")}
    assert {one.path for one in opened} == {str(tar)}


def test_clips_of_one_video_share_its_hash_and_one_reading(
    workspace: Workspace, tmp_path: Path, opened: list[Media]
) -> None:
    path = str(tmp_path / "a.mp4")
    Path(path).write_bytes(b"one")
    spans = [Media(path, start=float(i), stop=i + 1.0) for i in range(20)]
    assert hash_media(workspace, spans) == dict.fromkeys(spans, sha(b"one"))
    assert len(opened) == 1


def test_a_file_behind_a_url_is_known_by_what_its_file_system_says(
    workspace: Workspace, opened: list[Media]
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/far/a.mp4", b"one")
    memory.pipe_file("/far/b.mp4", b"one")
    media = [Media("memory://far/a.mp4"), Media("memory://far/b.mp4"), Media("memory://far/none.mp4")]
    first = hash_media(workspace, media)
    assert set(first) == set(media[:2])
    assert hash_media(workspace, media) == first
    memory.pipe_file("/far/a.mp4", b"another")
    second = hash_media(workspace, media)
    assert second[media[0]] != first[media[0]]
    assert second[media[1]] == first[media[1]]
    assert opened == []


def test_what_lies_behind_a_url_that_cannot_be_reached_keeps_its_hash(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/away/a.mp4", b"one")
    known, new = Media("memory://away/a.mp4"), Media("memory://away/b.mp4")
    before = hash_media(workspace, [known])

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("503")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "info", fail)
        hashes, reasons = look(workspace, [known, new])
    assert hashes == before
    assert reasons == {new: "the file cannot be read: RuntimeError: 503"}
    memory.rm("/away/a.mp4")
    hashes, reasons = look(workspace, [known])
    assert (hashes, reasons) == ({}, {known: "there is no file memory://away/a.mp4"})


def test_a_run_that_is_killed_has_remembered_what_it_read(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = str(write_tar(tmp_path / "0.tar", {f"{i}.mp4": bytes([i]) for i in range(9)}))
    media = [Media(tar, f"{i}.mp4") for i in range(9)]
    monkeypatch.setattr(source_files, "SECONDS_BETWEEN_COMMITS", 0.0)

    def killed(media: Sequence[Media], stamps: Mapping[str, str]) -> Iterator[Digest]:
        for one in digests(media, stamps):
            if one.media.member == "5.mp4":
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(source_files, "digests", killed)
    with pytest.raises(KeyboardInterrupt):
        hash_media(workspace, media)
    assert set(known_media(workspace, media)) == {(tar, f"{i}.mp4") for i in range(5)}


def test_of_a_file_over_which_processes_are_lost_no_more_than_a_few_parts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Media] = []

    def hung(jobs: Iterable[Any], work: Callable[[Any], Digest], lost: Any, **_: object) -> Iterator[Digest]:
        for job in jobs:
            tried.append(job.media)
            yield lost(job, HUNG) if "bad" in job.media.path else work(job)

    monkeypatch.setattr(hashing, "run_jobs", hung)
    good = str(write_tar(tmp_path / "good.tar", {f"{i}.mp4": b"x" for i in range(9)}))
    bad = str(write_tar(tmp_path / "bad.tar", {f"{i}.mp4": b"x" for i in range(9)}))
    media = [Media(path, f"{i}.mp4") for path in (bad, good) for i in range(9)]
    found = {one.media: one for one in digests(media, {bad: "", good: ""})}
    assert {one for one in media if found[one].sha256} == {one for one in media if one.path == good}
    assert len(tried) == 3 + 9
    assert [found[one].reason for one in media[:4]] == [
        *["reading it took longer than 120 s"] * 3,
        "not read: 3 other parts of its file ended their process",
    ]


def test_parts_are_read_in_another_process(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar = str(write_tar(tmp_path / "0.tar", {"x.mp4": b"one"}))
    cells = str(write_parquet(tmp_path / "0.parquet", [b"two"]))
    monkeypatch.delattr(hashing, "open_media")
    hashes, _ = look(workspace, [Media(tar, "x.mp4"), Media(cells, "video/0")])
    assert list(hashes.values()) in ([sha(b"one"), sha(b"two")], [sha(b"two"), sha(b"one")])


def test_what_is_no_plain_file_is_not_read(workspace: Workspace, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "b.tar")
    media = [Media(str(tmp_path / "a.mp4")), Media(str(tmp_path / "b.tar"), "x.mp4"), Media("/dev/zero")]
    hashes, reasons = look(workspace, media)
    assert (hashes, set(reasons.values())) == ({}, {"the file cannot be read: it is no plain file"})


def test_nothing_is_remembered_of_what_was_never_asked_for(workspace: Workspace) -> None:
    assert known_media(workspace, [Media("a.mp4")]) == {}
    assert hash_media(workspace, []) == {}
