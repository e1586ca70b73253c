"""Networks of a hub and behind URLs: servers on this machine answer."""

import json
import tomllib
from pathlib import Path

import pytest
from huggingface_hub import constants

from onaspr_core.addresses import PRIVATE_NETWORKS
from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import I3D, INCEPTION, PUBLISHED, describe
from onaspr_core.evaluation.settings import FeatureSettings, NetworkSettings
from onaspr_core.paths import file_sha256
from onaspr_core.studies.comparable import CLIP
from tests.loopback import COMMIT, Answer, Hub, serving
from tests.processes import run_with_hub
from tests.tiny_networks import TinyI3D, save_script

SCRIPT = """
import json, sys
from pathlib import Path
from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import describe, load
from onaspr_core.evaluation.settings import FeatureSettings, NetworkSettings
for line in sys.stdin:
    role, network = json.loads(line)
    try:
        found = describe(role, NetworkSettings(**network), "tiny", Path("/nowhere"))
        texts = load(found, "cpu").texts(["a red ball"]) if role == "image-text model" else []
        print(json.dumps([found.fingerprint, len(texts)]))
    except UserError as problem:
        print(json.dumps(f"{type(problem).__name__}: {problem}"))
"""


def ask(endpoint: str, home: Path, asked: list[tuple[str, dict[str, str]]]) -> list[object]:
    return run_with_hub(SCRIPT, endpoint, home, map(json.dumps, asked))


def test_clip_of_a_hub_is_the_one_in_a_folder_and_is_downloaded_once(
    hub: tuple[Hub, str], models: Path, tmp_path: Path
) -> None:
    served, endpoint = hub
    files = {path.name: path.read_bytes() for path in (models / "image-text").iterdir()}
    others = {"pytorch_model.bin": b"a pickle", "README.md": b"a card", "onnx/model.onnx": b"onnx"}
    served.files["owner/clip"] = {**files, **others}
    network = ("image-text model", {"path": "owner/clip", "revision": COMMIT})
    local = describe("image-text model", str(models / "image-text"), "tiny", Path("/"))
    assert ask(endpoint, tmp_path, [network, network]) == [[local.fingerprint, 1]] * 2
    assert sorted(served.fetched) == sorted(f"owner/clip/{name}" for name in files)
    assert ask("http://127.0.0.1:9", tmp_path, [network]) == [[local.fingerprint, 1]]


def test_what_a_hub_does_not_give_is_told_before_weights_are_downloaded(
    hub: tuple[Hub, str], models: Path, tmp_path: Path
) -> None:
    served, endpoint = hub
    files = {path.name: path.read_bytes() for path in (models / "image-classifier").iterdir()}
    served.files["owner/resnet"] = files
    served.files["owner/pickled"] = {"config.json": files["config.json"], "pytorch_model.bin": b"a pickle"}
    wrong, gone, pickled = ask(
        endpoint,
        tmp_path,
        [
            ("video classifier", {"path": "owner/resnet"}),
            ("image classifier", {"path": "owner/gone"}),
            ("image classifier", {"path": "owner/pickled"}),
        ],
    )
    assert "ResNetForImageClassification cannot serve as video classifier" in str(wrong)
    assert not [name for name in served.fetched if name.endswith((".safetensors", ".bin"))]
    assert "UserError: model 'owner/gone': the hub has no such model" in str(gone)
    assert "holds only pickles (pytorch_model.bin), which are not read" in str(pickled)
    (away,) = ask("http://127.0.0.1:9", tmp_path, [("image classifier", {"path": "owner/new"})])
    assert str(away).startswith("PassingError: model 'owner/new': the hub cannot be reached")


def test_a_file_behind_a_url_is_the_one_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(PRIVATE_NETWORKS, "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    file = save_script(TinyI3D(), tmp_path / "i3d.pt")
    pin = file_sha256(file)

    def answer(path: str) -> Answer:
        return 200, {}, file.read_bytes()

    asked: list[str] = []
    with serving(answer, asked) as address:
        network = NetworkSettings(path=f"{address}/i3d_torchscript.pt?dl=1", sha256=pin)
        found = [describe("video classifier", network, "tiny", Path("/")) for _ in range(2)]
        with pytest.raises(UserError, match=f"The video classifier {address}/a.pt is a URL and needs sha256"):
            describe("video classifier", f"{address}/a.pt", "tiny", Path("/"))
    local = describe("video classifier", NetworkSettings(path=str(file), sha256=pin), "tiny", Path("/"))
    assert [one.fingerprint for one in found] == [local.fingerprint] * 2
    assert asked == ["/i3d_torchscript.pt?dl=1"]


def test_the_networks_that_the_docs_name_are_settings_and_pin_the_published_files() -> None:
    text = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
    block = text.partition("```toml\n")[2].partition("```")[0]
    named = tomllib.loads(block)["experiments"]["mine"]["evaluation"]["features"]
    features = FeatureSettings.model_validate(named).model_dump()
    pins = [features[key]["sha256"] for key in ("image_classifier", "video_classifier")]
    assert [PUBLISHED[one] for one in pins] == [INCEPTION, I3D]
    assert features["image_text"]["path"] == CLIP
