"""A store is read whole, and what is wrong with it is named."""

from pathlib import Path

import pytest

from onaspr_core.artifacts import ArtifactStore, content_key
from onaspr_core.pool.clip_catalog import enter_clips, lost_clips
from onaspr_core.pool.shards import Clip, write_shard
from onaspr_core.settings import load_settings
from onaspr_core.verification import main
from onaspr_core.workspace import Workspace

KEYS = [content_key("x", n=n) for n in range(6)]


@pytest.fixture
def stored(settings_file: Path) -> Workspace:
    """Six items, a shard and a catalog."""
    workspace = Workspace(load_settings(settings_file))
    for key in KEYS:
        workspace.store.write("inverted-latent", key, ".bin", key.encode() * 9, {})
    enter_clips(workspace, write_shard(workspace.shards_path, [Clip("k", b"mp4", "a cat", {})]), {})
    with workspace.catalog.write() as connection:
        connection.execute("create table t (n integer)")
    return workspace


def verify(workspace: Workspace, *words: str) -> int:
    return main(["verify", "--settings", str(workspace.settings.base / "settings.toml"), *words])


def columns(told: str, kind: str) -> list[str]:
    [words] = [words for words in map(str.split, told.splitlines()) if words[0] == kind and len(words) == 6]
    return words[1:]


def test_a_whole_store_has_no_faults(stored: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(stored) == 0
    told = capsys.readouterr().out
    assert columns(told, "inverted-latent") == ["6", "0.00", "0", "0", "0"]
    assert columns(told, "shard")[0] == "1" and columns(told, "catalog")[0] == "4"


def test_every_fault_is_named_and_set_aside_only_where_that_is_asked(
    stored: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored.store
    flipped, cut, gone, record = (Path(store.url("inverted-latent", key)) for key in KEYS[:4])
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"?")
    cut.write_bytes(cut.read_bytes()[:-1])
    gone.unlink()
    file = record.with_name(f"{KEYS[3]}.record.json")
    file.write_text(file.read_text().replace('"bytes": 3', '"bytes": 4'))
    [shard] = Path(stored.shards_path).iterdir()
    shard.write_bytes(shard.read_bytes()[:700])
    for _ in range(2):
        assert verify(stored) == 1
        told = capsys.readouterr().out
        assert columns(told, "inverted-latent")[2:] == ["1", "3", "0"]
        assert columns(told, "shard")[2:] == ["0", "1", "0"]
        assert told.count("materialize inverted_latents") == 4 and shard.name in told
        assert all(key in told for key in KEYS[:4])
    assert verify(stored, "--remove") == 1
    capsys.readouterr()
    assert verify(stored) == 0
    assert columns(capsys.readouterr().out, "inverted-latent") == ["2", "0.00", "0", "0", "4"]
    assert ArtifactStore(f"{stored.settings.base}/store/artifacts").existing("inverted-latent", KEYS) == set(
        KEYS[4:]
    )
    assert not shard.exists()


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_clips_of_a_shard_that_is_gone_wait_to_be_made_again(
    stored: Workspace, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    [shard] = Path(stored.shards_path).iterdir()
    shard.write_bytes(b"") if damage == "truncated" else shard.unlink()
    for words in ((), ("--remove",)):
        assert verify(stored, *words) == 1
        told = capsys.readouterr().out
        assert columns(told, "shard")[2:4] == (["0", "1"] if damage == "truncated" else ["1", "0"])
        assert told.count(f"shard {shard.name}: ") == 1 and "materialize pool_clips" in told
    assert verify(stored) == 0
    assert lost_clips(stored) == {"k"}


def test_a_catalog_that_cannot_be_opened_is_told(
    stored: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.catalog.path.write_bytes(b"no database" * 1000)
    assert verify(stored) == 1
    told = capsys.readouterr().out
    assert "catalog: cannot be opened" in told and columns(told, "catalog")[3] == "1"


def test_settings_that_are_wrong_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--settings", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
