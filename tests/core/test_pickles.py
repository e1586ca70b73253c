"""A pickle runs code when it is loaded. One planted on every path that reads files runs none."""

import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import SafetensorError

from onaspr_core.artifacts import ArtifactStore
from onaspr_core.backbones.registry import load_backbone
from onaspr_core.errors import UserError
from onaspr_core.evaluation import c3d_weights
from onaspr_core.evaluation.extractors import Role, describe, load
from onaspr_core.evaluation.settings import NetworkSettings
from onaspr_core.miniature.train.data import kept
from onaspr_core.paths import file_sha256
from onaspr_core.pool.cut import CutJob, cut_clip
from onaspr_core.pool.media import Media, file_stamp
from onaspr_core.retrieval.embedder import load_sentence_transformer
from onaspr_core.settings import BackboneSettings
from onaspr_core.training.state import restore
from tests.core.pool.packed import write_parquet, write_tar
from tests.core.pool.rows import read
from tests.loopback import Hub
from tests.processes import run_with_hub
from tests.tiny_models import save_tiny_judges
from tests.tiny_sentences import save_tiny_embedder

ROOT = Path(__file__).parents[2]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[Bomb]:
    """What to pickle; a test in which it was unpickled fails."""
    made = Bomb(tmp_path / "exploded")
    yield made
    assert not made.mark.exists(), "a pickle was loaded"


def pickled(bomb: Bomb) -> bytes:
    return pickle.dumps({"weight": bomb})


def torch_saved(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    torch.save({"weight": bomb}, file)
    return file.getvalue()


def test_the_bomb_works(tmp_path: Path) -> None:
    pickle.loads(pickled(Bomb(tmp_path / "one")))
    torch.load(io.BytesIO(torch_saved(Bomb(tmp_path / "two"))), weights_only=False)
    assert (tmp_path / "one").is_dir() and (tmp_path / "two").is_dir()


def test_no_component_of_a_backbone_may_be_a_pickle(
    tiny_settings: BackboneSettings, tmp_path: Path, bomb: Bomb
) -> None:
    folder = Path(shutil.copytree(tiny_settings.path, tmp_path / "model"))
    settings = tiny_settings.model_copy(update={"path": str(folder)})
    for part in ("text_encoder", "vae", "unet"):
        (weights,) = (folder / part).glob("*.safetensors")
        safe = weights.read_bytes()
        # Under the name that safetensors have, alone under its own, and beside them.
        for form in (pickled, torch_saved):
            weights.write_bytes(form(bomb))
            with pytest.raises(UserError, match="cannot be loaded"):
                load_backbone(settings, Path())
        weights.rename(weights.with_suffix(".bin"))
        with pytest.raises(UserError, match=r"no weights .*pickles are not read"):
            load_backbone(settings, Path())
        weights.write_bytes(safe)
    load_backbone(settings, Path())


def test_no_part_of_a_sentence_embedder_may_be_a_pickle(tmp_path: Path, bomb: Bomb) -> None:
    folder = save_tiny_embedder(tmp_path / "embedder")
    load_sentence_transformer(str(folder))
    for weights in sorted(folder.rglob("*.safetensors")):
        safe = weights.read_bytes()
        beside = weights.with_name("pytorch_model.bin")
        beside.write_bytes(torch_saved(bomb))
        load_sentence_transformer(str(folder))
        weights.unlink()
        with pytest.raises(UserError, match=r"embedding\.model: .* is a pickle"):
            load_sentence_transformer(str(folder))
        beside.unlink()
        weights.write_bytes(pickled(bomb))
        with pytest.raises(UserError, match=r"embedding\.model: .* cannot be loaded"):
            load_sentence_transformer(str(folder))
        weights.write_bytes(safe)


def test_no_pickle_of_a_hubs_embedder_is_fetched(hub: tuple[Hub, str], tmp_path: Path, bomb: Bomb) -> None:
    folder = save_tiny_embedder(tmp_path / "embedder")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    dense = files.pop("2_Dense/model.safetensors")
    served = {**files, "2_Dense/pytorch_model.bin": torch_saved(bomb)}
    hub[0].files |= {"owner/bad": served, "owner/good": {**served, "2_Dense/model.safetensors": dense}}
    code = """
import sys
from onaspr_core.retrieval.embedder import load_sentence_transformer
for line in sys.stdin:
    try:
        print(len(load_sentence_transformer(line.strip(), "main")))
    except Exception as problem:
        print(f'"{type(problem).__name__}"')
"""
    assert run_with_hub(code, hub[1], tmp_path / "home", ["owner/bad", "owner/good"]) == ["UserError", 3]
    assert not [name for name in hub[0].fetched if name.endswith(".bin")]


def test_code_that_comes_with_an_embedder_is_not_run(tmp_path: Path) -> None:
    folder = save_tiny_embedder(tmp_path / "embedder")
    (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'exploded')!r})\nclass Part: ...\n")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([*modules, {**modules[-1], "type": "evil.Part"}]))
    with pytest.raises(UserError, match=r"embedding\.model: .*evil\.Part"):
        load_sentence_transformer(str(folder))
    assert not (tmp_path / "exploded").exists()


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_judges(tmp_path_factory.mktemp("judges"))


@pytest.mark.parametrize("role", ["image classifier", "image-text model", "video classifier"])
def test_no_feature_network_may_be_a_pickle(judges: Path, tmp_path: Path, bomb: Bomb, role: Role) -> None:
    name = role.removesuffix(" model").replace(" ", "-")
    folder = Path(shutil.copytree(judges / name, tmp_path / name))
    weights = folder / "model.safetensors"
    for file, form in (
        (weights, pickled),
        (weights, torch_saved),
        (folder / "pytorch_model.bin", torch_saved),
    ):
        weights.unlink(missing_ok=True)
        file.write_bytes(form(bomb))
        with pytest.raises(UserError, match="cannot be loaded"):
            load(describe(role, str(folder), "x", tmp_path), "cpu")


@pytest.mark.parametrize("form", [pickled, torch_saved])
def test_a_network_in_one_file_may_be_no_pickle_even_where_it_is_pinned(
    tmp_path: Path, bomb: Bomb, form: Callable[[Bomb], bytes]
) -> None:
    roles: dict[str, Role] = {"i.pt": "image classifier", "v.pt": "video classifier"}
    for name, role in roles.items():
        (tmp_path / name).write_bytes(form(bomb))
        with pytest.raises(UserError, match="is code, and not a file that is known to be harmless"):
            describe(role, name, "x", tmp_path)
        pinned = NetworkSettings(path=name, sha256=file_sha256(tmp_path / name))
        with pytest.raises(UserError, match="cannot be loaded"):
            load(describe(role, pinned, "x", tmp_path), "cpu")
    (tmp_path / "c3d.safetensors").write_bytes(form(bomb))
    with pytest.raises(UserError, match="cannot be loaded"):
        load(describe("video classifier", "c3d.safetensors", "x", tmp_path), "cpu")


def test_arrays_of_objects_are_not_read(tmp_path: Path, bomb: Bomb) -> None:
    array = np.array([bomb], dtype=object)
    np.savez(tmp_path / "weights.npz", **{"conv1a.weight": array, "mean": array})  # type: ignore[arg-type]
    np.save(tmp_path / "weights.npy", array, allow_pickle=True)
    (tmp_path / "weights.pkl").write_bytes(pickled(bomb))
    for file in ("weights.npz", "weights.npy", "weights.pkl"):
        with pytest.raises(UserError, match=r"cannot be read as npz|lacks an array"):
            c3d_weights.convert(tmp_path / file, tmp_path / file, tmp_path / "out.safetensors")
    with pytest.raises(ValueError, match="Python objects"):
        kept(tmp_path / "weights.npy", lambda: np.zeros(1))


@pytest.mark.parametrize("form", [pickled, torch_saved])
def test_no_state_of_a_training_and_no_stored_item_may_be_a_pickle(
    tmp_path: Path, bomb: Bomb, form: Callable[[Bomb], bytes]
) -> None:
    (tmp_path / "tensors.safetensors").write_bytes(form(bomb))
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        restore(tmp_path, {}, torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]), {})
    store = ArtifactStore(str(tmp_path / "store"))
    for suffix, reader in ((".safetensors", store.read_tensors), (".json", store.read_json)):
        store.write("features", "0" * 40, suffix, form(bomb), {})
        with pytest.raises((UserError, SafetensorError, ValueError)):
            reader("features", "0" * 40)


@pytest.mark.parametrize("form", [pickled, torch_saved])
def test_no_member_of_a_tar_is_unpickled(tmp_path: Path, bomb: Bomb, form: Callable[[Bomb], bytes]) -> None:
    suffixes = ("pyd", "pkl", "pickle", "pth", "npy", "cls", "mp4")
    members = {f"a.{suffix}": form(bomb) for suffix in suffixes}
    tar = write_tar(tmp_path / "t.tar", {**members, "a.txt": b"a dog", "b.json": form(bomb), "b.mp4": b"x"})
    good, bad = read(tmp_path, format="webdataset", path="t.tar")
    assert (good.caption, good.problem, good.media) == ("a dog", None, Media(str(tar), "a.mp4"))
    assert bad.problem is not None
    for suffix in suffixes:
        assert clip_of(Media(str(tar), f"a.{suffix}")) == (b"", True)


def clip_of(media: Media) -> tuple[bytes, bool]:
    clip = cut_clip(CutJob("k", media, file_stamp(media.path), 16, 1, 2, 8.0, 14))
    return clip.mp4, clip.lasting


@pytest.mark.parametrize("form", [pickled, torch_saved])
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet", "t.tar"])
def test_a_list_that_is_a_pickle_is_refused(
    tmp_path: Path, bomb: Bomb, form: Callable[[Bomb], bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(form(bomb))
    kind = "webdataset" if name.endswith("tar") else "folder"
    try:
        rows = read(tmp_path, format=kind, path=name)
    except UserError:
        return
    assert all(row.problem for row in rows)


def test_columns_of_parquet_that_ask_for_code_are_plain_bytes(tmp_path: Path, bomb: Bomb) -> None:
    file = write_parquet(tmp_path / "t.parquet", [pickled(bomb)])
    assert clip_of(Media(str(file), "plain/0")) == (b"", True)
    marks = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(bomb),
    }
    fields = [pa.field("file", pa.string(), metadata=marks), pa.field("caption", pa.string())]
    pq.write_table(pa.table([["a.mp4"], ["a dog"]], schema=pa.schema(fields)), tmp_path / "e.parquet")
    (row,) = read(tmp_path, format="parquet", path="e.parquet")
    assert (row.id, row.caption) == ("e.parquet/0", "a dog")


READERS = r"^\s*(import|from)\s+\S*(pickle|dill|joblib|shelve|marshal)|trust_remote_code=T|allow_pickle=T"
LOADERS = r"\b(?:torch|np|numpy|jit)\.(?:load|hub)\b[^\n]*"
KNOWN = {
    ("c3d_weights.py", "np.load(path, allow_pickle=False) as held:"),
    ("data.py", 'np.load(cache, mmap_mode="c", allow_pickle=False)'),
    ("torchscript_models.py", "jit.load(io.BytesIO(data), map_location=chosen).eval()"),
}
"""What the tests above have a pickle for."""


def test_nothing_else_could_load_one() -> None:
    found: set[tuple[str, str]] = set()
    for folder in ("onaspr_core", "onaspr_assets"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not re.search(READERS, text, re.MULTILINE), file
            found.update((file.name, one) for one in re.findall(LOADERS, text))
    assert found == KNOWN
