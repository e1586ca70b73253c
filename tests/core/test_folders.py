"""A folder is the same on a disk, in memory and on an object store; what an object store refuses is told."""

import re
from pathlib import Path

import fsspec
import pytest
from botocore.exceptions import ClientError
from fsspec.implementations.memory import MemoryFileSystem
from s3fs.errors import translate_boto_error

from onaspr_core.errors import StoreError, UserError
from onaspr_core.folders import Folder, explained, lance_options
from tests.object_store import SECRET, ObjectStore

AWAY = "http://127.0.0.1:9"


@pytest.fixture(params=["disk", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder in which nothing has been made."""
    match request.param:
        case "disk":
            return Folder(f"{tmp_path}/new/[odd] name/")
        case "memory":
            return Folder(f"memory://{tmp_path.name}/new/")
    return Folder(f"{request.getfixturevalue('bucket')}/new/[odd] name/")


def test_files_are_written_listed_read_and_deleted(folder: Folder) -> None:
    assert folder.names() == folder.names("a/b") == []
    assert not folder.has("a/one.txt") and folder.found("a/one.txt") is None
    with pytest.raises(FileNotFoundError):
        folder.read("a/one.txt")
    with pytest.raises(FileNotFoundError):
        folder.open("a/one.txt")
    folder.write("a/one.txt", b"0123456789")
    folder.write("a/b/two.txt", b"")
    folder.write("a/one.txt", b"9876543210")
    assert sorted(folder.names("a")) == sorted((folder / "a").names()) == ["b", "one.txt"]
    assert folder.names() == ["a"]
    assert folder.read("a/one.txt") == folder.found("a/one.txt") == b"9876543210"
    assert folder.has("a/b/two.txt") and folder.read("a/b/two.txt") == b""
    with folder.open("a/one.txt") as file:
        assert file.read() == b"9876543210"
    assert sorted(folder.sizes().values()) == [0, 10]
    assert list(folder.map(folder.read, ["a/one.txt", "a/b/two.txt"])) == [b"9876543210", b""]
    folder.delete("a/one.txt")
    assert folder.names("a") == ["b"]


def test_a_range_has_what_there_is_of_it(folder: Folder) -> None:
    folder.write("file", b"0123456789")
    assert folder.read("file", 2, 5) == b"234"
    assert folder.read("file", 8, 50) == b"89"
    assert folder.read("file", 20, 50) == b""


def test_folders_are_made_where_a_file_system_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = MemoryFileSystem.pipe_file

    def into_folders_alone(files: MemoryFileSystem, path: str, data: bytes) -> None:
        if not files.isdir(path.rpartition("/")[0]):
            raise FileNotFoundError(path)
        write(files, path, data)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", into_folders_alone)
    folder = Folder(f"memory://{tmp_path.name}/new")
    folder.write("a/b/one.txt", b"1")
    assert folder.read("a/b/one.txt") == b"1"


def test_a_scheme_that_nothing_opens_is_told() -> None:
    with pytest.raises(UserError, match=r"nowhere://x cannot be opened: Protocol not known: nowhere"):
        Folder("nowhere://x").names()


def refusals(place: str) -> list[str]:
    """What is said of each thing that is asked of a folder that cannot be used."""
    told = []
    folder = Folder(place)
    for ask in (
        folder.names,
        folder.sizes,
        lambda: folder.read("f"),
        lambda: folder.has("f"),
        lambda: folder.write("f", b"1"),
        lambda: folder.delete("f"),
    ):
        with pytest.raises(StoreError) as raised:
            ask()
        told.append(str(raised.value))
        assert raised.value.__cause__ is None and SECRET not in told[-1] and "loopback" not in told[-1]
        assert told[-1].startswith(place)
    return told


def test_a_bucket_that_is_not_there_is_told(bucket: str) -> None:
    for told in refusals(f"{bucket}-gone/store"):
        assert re.search("there is no such bucket; create it, or correct `store.root`", told)


def test_keys_that_are_not_accepted_are_told(bucket: str, object_store: ObjectStore) -> None:
    with object_store.strict():
        for told in refusals(f"{bucket}/store"):
            assert re.search("the keys are not accepted; set AWS_ACCESS_KEY_ID.*InvalidAccessKeyId", told)


def test_keys_without_permission_are_told(bucket: str, object_store: ObjectStore) -> None:
    keys = object_store.keys_without_permission()
    with object_store.strict(), object_store.reached(**keys):
        for told in refusals(f"{bucket}/store"):
            assert re.search(r"grant them s3:ListBucket .* \((AccessDenied|Forbidden)\)", told)


def test_a_server_that_is_away_is_told(bucket: str, object_store: ObjectStore) -> None:
    with object_store.reached(AWS_ENDPOINT_URL=AWAY, AWS_MAX_ATTEMPTS="1"):
        for told in refusals(f"{bucket}/store"):
            assert re.search("does not answer; look at AWS_ENDPOINT_URL.*run again", told)


def test_that_there_are_no_keys_is_told(bucket: str, object_store: ObjectStore, tmp_path: Path) -> None:
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_CONFIG_FILE": str(tmp_path / "no")}
    with object_store.reached(**nowhere), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name)
        for told in refusals(f"{bucket}/store"):
            assert re.search("there are no keys; set AWS_ACCESS_KEY_ID", told)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("SlowDown", "answers SlowDown: please wait; run again"),
        ("InternalError", "answers InternalError: please wait; run again"),
        ("RequestTimeTooSkewed", "the clock of this machine"),
        ("ExpiredToken", "the keys are not accepted"),
    ],
)
def test_whatever_s3_answers_is_told(code: str, expected: str) -> None:
    answered = ClientError({"Error": {"Code": code, "Message": "please wait"}}, "PutObject")
    with pytest.raises(StoreError, match=expected), explained("s3://b/x"):
        raise translate_boto_error(answered)
    with pytest.raises(OSError, match="please wait"), explained("/data/x"):
        raise translate_boto_error(answered)


def test_what_is_no_error_of_an_object_store_passes() -> None:
    for problem in (ZeroDivisionError("x"), FileNotFoundError("s3://b/AccessDenied"), UserError("Forbidden")):
        with pytest.raises(type(problem)) as raised, explained("s3://b/x"):
            raise problem
        assert raised.value is problem


def test_lance_is_told_what_fsspec_is_configured_with(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store.reached():
        assert lance_options("/data/captions.lance") == {}
        assert lance_options("s3://b/captions.lance") == {
            "aws_endpoint": object_store.endpoint,
            "allow_http": "true",
        }
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://objects.example")
        assert lance_options("s3://b/x") == {"aws_endpoint": "https://objects.example"}
        told = {"key": "k", "secret": "s", "client_kwargs": {"region_name": "eu-west-1"}}
        monkeypatch.setitem(fsspec.config.conf, "s3", {**told, "endpoint_url": "http://10.0.0.1:9000"})
        assert lance_options("s3://b/x") == {
            "aws_access_key_id": "k",
            "aws_secret_access_key": "s",
            "aws_region": "eu-west-1",
            "aws_endpoint": "http://10.0.0.1:9000",
            "allow_http": "true",
        }
