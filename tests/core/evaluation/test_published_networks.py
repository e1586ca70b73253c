"""The networks in one file: what they compute, against the published way written out; pins and damage."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onaspr_core.errors import UserError
from onaspr_core.evaluation import extractors
from onaspr_core.evaluation.c3d_weights import main as convert
from onaspr_core.evaluation.encoding import text_item, video_item
from onaspr_core.evaluation.extractors import ARCHITECTURES, FeatureSet, Role, describe, load
from onaspr_core.evaluation.frame_sampling import ALL_FRAMES
from onaspr_core.evaluation.settings import NetworkSettings
from onaspr_core.evaluation.ucf101 import class_prompts
from onaspr_core.media.video import Frames
from tests.core.evaluation.conftest import noise
from tests.tiny_networks import CONVOLUTIONS, TinyI3D, TinyInception, c3d_arrays, save_c3d, save_script

GOLDEN: dict[Role, tuple[str, str, str]] = {
    "image classifier": (
        "40705a9f9fdb9bbac9a212d386502979c7d429ed",
        "e35577b26a44cb9fdf8635cde06242803b5d2a33",
        "a519ba6cc9fe2fef76cb560b6576819337966ff5",
    ),
    "image-text model": (
        "a5bfa6b4a9b6629d8f83ff58218cf23c236fbe05",
        "44223cb1865f6a93dc6d16f54aa20c066e2f7231",
        "168965b0cd9757504875277dce4c67037f34efcc",
    ),
    "video classifier": (
        "12b72143cca0e6364d946a8493097e63ccf2d16a",
        "90ff3734e49e7a7ccfc05d3ea0f42a645bb80e97",
        "2b72a5306fe9dc7562f69a35270544baab8d6a33",
    ),
}
"""Fingerprint, key of a video's features and of a text's, as they were without networks in a file."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def described(role: Role, path: Path) -> FeatureSet:
    return describe(role, NetworkSettings(path=str(path), sha256=sha256(path)), "tiny", Path("/"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {
        "inception": save_script(TinyInception(), folder / "inception.pt"),
        "i3d": save_script(TinyI3D(), folder / "i3d.pt"),
        "c3d": save_c3d(folder / "c3d.safetensors"),
    }


ROLES: dict[str, Role] = {
    "inception": "image classifier",
    "i3d": "video classifier",
    "c3d": "video classifier",
}


@pytest.mark.parametrize("role", list(GOLDEN))
def test_fingerprints_and_keys_of_transformers_models_do_not_move(role: Role, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ARCHITECTURES[role]}))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    found = describe(role, str(tmp_path), "x", Path())
    video = video_item("n", "source", found, ALL_FRAMES, lambda: noise(1))
    assert (found.fingerprint, video.key, text_item("n", "a text", found).key) == GOLDEN[role]


def clean_fid_resize(image: Frames, size: int = 299) -> np.ndarray:
    """clean-fid's `make_resizer("PIL", False, "bicubic", (299, 299))`, 0.1.35."""

    def one(channel: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(channel.astype(np.float32), mode="F")
        resized = picture.resize((size, size), resample=Image.Resampling.BICUBIC)
        return np.asarray(resized).clip(0, 255).reshape(size, size, 1)

    return np.concatenate([one(image[:, :, i]) for i in range(3)], axis=2).astype(np.float32)


@pytest.mark.parametrize("shape", [(20, 30), (299, 299), (400, 330)])
def test_inception_sees_what_clean_fid_shows_it(files: dict[str, Path], shape: tuple[int, int]) -> None:
    video = noise(2, *shape)
    network = load(described("image classifier", files["inception"]), "cpu")
    found = network.features([video])[0]
    script = torch.jit.load(files["inception"])
    shown = torch.from_numpy(np.stack([clean_fid_resize(frame) for frame in video])).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = script.layers((shown - 128) / 128).view(2, 2048)
        likely = script(shown, no_output_bias=True)
    assert found["features"].shape == (2, network.width)
    np.testing.assert_allclose(found["features"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["probabilities/class"], likely, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found["probabilities/class"].sum(1), 1, rtol=1e-5)


def test_i3d_scales_and_resizes_by_itself_and_gives_what_stands_before_the_softmax(
    files: dict[str, Path],
) -> None:
    video = noise(16)
    network = load(described("video classifier", files["i3d"]), "cpu")
    found = network.features([video])[0]
    shown = torch.from_numpy(video).permute(3, 0, 1, 2)[None].float()
    with torch.no_grad():
        script = torch.jit.load(files["i3d"])
        expected = script(shown, rescale=True, resize=True, return_features=True)[0]
        likely = script(shown, rescale=True, resize=True)[0]
    assert found["features"].shape == (network.width,) == (400,)
    np.testing.assert_allclose(found["features"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["probabilities/class"], likely, rtol=1e-4)


def c3d_by_hand(video: Frames, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """TGAN2's `C3DVersion1UCF101`: fc7 and probabilities, in loops and numpy where that is possible."""
    height, width = video.shape[1:3]
    rows, columns = np.linspace(0, height - 1, 112), np.linspace(0, width - 1, 112)
    bgr = video[..., ::-1].astype(np.float64)

    def between(pixels: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
        low = np.minimum(np.floor(places).astype(int), pixels.shape[axis] - 2)
        weight = (places - low).reshape([-1 if i == axis else 1 for i in range(pixels.ndim)])
        mixed: np.ndarray = pixels.take(low, axis) * (1 - weight) + pixels.take(low + 1, axis) * weight
        return mixed

    resized = between(between(bgr, rows, 1), columns, 2)
    hidden = resized.transpose(3, 0, 1, 2) - mean
    weights = c3d_arrays()
    for name in CONVOLUTIONS:
        kernel, bias = weights[f"{name}/W"].astype(np.float64), weights[f"{name}/b"].astype(np.float64)
        hidden = torch.nn.functional.conv3d(
            torch.from_numpy(hidden[None]), torch.from_numpy(kernel), torch.from_numpy(bias), padding=1
        )[0].numpy()
        hidden = np.maximum(hidden, 0)
        if name in ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b"):
            for axis in (2, 3) if name == "conv1a" else (1, 2, 3):
                # Chainer's `cover_all`: the last window is cut short.
                hidden = np.maximum.reduceat(hidden, np.arange(0, hidden.shape[axis], 2), axis)
    assert hidden.shape == (4, 1, 4, 4)
    hidden = np.maximum(weights["fc6/W"] @ hidden.ravel() + weights["fc6/b"], 0)
    hidden = np.maximum(weights["fc7/W"] @ hidden + weights["fc7/b"], 0)
    logits = weights["fc8/W"] @ hidden + weights["fc8/b"]
    return hidden, np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def test_c3d_from_the_converted_files_computes_what_tgan2_computes(tmp_path: Path) -> None:
    whole = np.random.default_rng(2).uniform(80, 120, (3, 16, 128, 171)).astype(np.float32)
    arrays: dict[str, Any] = c3d_arrays()
    np.savez(tmp_path / "weights.npz", **arrays)
    np.savez(tmp_path / "mean.npz", mean=whole)
    out = tmp_path / "c3d.safetensors"
    assert convert([str(tmp_path / "weights.npz"), str(tmp_path / "mean.npz"), str(out)]) == 0
    network = load(describe("video classifier", str(out), "tiny", Path("/")), "cpu")
    video = noise(16)
    found = network.features([video])[0]
    features, likely = c3d_by_hand(video, whole[:, :, 8:120, 8:120])
    assert features.any()
    assert network.width == 8
    np.testing.assert_allclose(found["features"], features, rtol=1e-3, atol=1e-3 * features.max())
    np.testing.assert_allclose(found["probabilities/class"], likely, rtol=1e-2, atol=1e-5)
    short = network.features([video[:8]])[0]
    again = network.features([video[:8].repeat(2, axis=0)])[0]
    np.testing.assert_allclose(short["features"], again["features"], rtol=1e-5, atol=1e-6)


def test_files_of_c3d_that_cannot_be_converted_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays: dict[str, Any] = c3d_arrays()
    good, mean = tmp_path / "weights.npz", tmp_path / "mean.npz"
    np.savez(good, **arrays)
    np.savez(mean, mean=np.zeros((3, 16, 112, 112)))
    lacking, pickled = tmp_path / "lacking.npz", tmp_path / "pickled.npz"
    np.savez(lacking, **{name: array for name, array in arrays.items() if name != "fc8/b"})
    np.savez(pickled, **{**arrays, "fc8/b": np.array([{}], dtype=object)})
    out = tmp_path / "out.safetensors"

    def told(weights: Path) -> str:
        assert convert([str(weights), str(mean), str(out)]) == 1
        assert not out.exists()
        return capsys.readouterr().err

    assert "the mean has shape (3, 16, 112, 112), not (3, 16, 128, 171)" in told(good)
    assert f"{lacking} lacks an array" in told(lacking)
    assert f"{pickled} cannot be read as npz" in told(pickled)
    assert "nowhere.npz cannot be read as npz" in told(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("name", list(ROLES))
def test_a_video_has_the_same_features_alone_and_among_others_of_other_sizes(
    files: dict[str, Path], name: str
) -> None:
    videos = [noise(12, seed=1), noise(12, 40, 30, seed=2), noise(14, seed=3), noise(12, seed=4)]
    network = load(described(ROLES[name], files[name]), "cpu")
    for video, found in zip(videos, network.features(videos), strict=True):
        alone = network.features([video])[0]
        assert set(found) == {"features", "probabilities/class"}
        for key, array in alone.items():
            np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="reads no text"):
        network.texts(["a"])


def test_classes_are_those_of_the_network(files: dict[str, Path]) -> None:
    groups = {name: described(ROLES[name], files[name]).groups for name in ROLES}
    assert {name: (one.name, len(one.values)) for name, (one,) in groups.items()} == {
        "inception": ("class", 1008),
        "i3d": ("class", 400),
        "c3d": ("class", 101),
    }
    classes = tuple(class_prompts())
    assert groups["c3d"][0].values == classes
    assert (len(classes), classes[0], classes[100]) == (101, "ApplyEyeMakeup", "YoYo")


def test_networks_are_told_apart_by_their_content_and_by_what_they_serve_as(
    files: dict[str, Path], tmp_path: Path
) -> None:
    found = {name: described(ROLES[name], files[name]) for name in ROLES}
    copy = tmp_path / "copy.pt"
    copy.write_bytes(files["i3d"].read_bytes())
    assert described("video classifier", copy).fingerprint == found["i3d"].fingerprint
    other = save_script(TinyI3D(), tmp_path / "other.pt", seed=1)
    prints = [one.fingerprint for one in found.values()]
    prints += [described("video classifier", other).fingerprint]
    prints += [described("image classifier", files["i3d"]).fingerprint]
    assert len(set(prints)) == 5


def test_torchscript_without_a_pin_is_refused_unless_it_is_a_published_file(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(files["i3d"])
    with pytest.raises(UserError, match=f'is code, .* sha256 = "{sha256(files["i3d"])}"'):
        describe("video classifier", path, "tiny", Path("/"))
    monkeypatch.setitem(extractors.PUBLISHED, sha256(files["i3d"]), extractors.I3D)
    assert describe("video classifier", path, "tiny", Path("/")).architecture == "I3D"
    with pytest.raises(UserError, match="is the published I3D, which cannot serve as image classifier"):
        describe("image classifier", path, "tiny", Path("/"))
    with pytest.raises(
        UserError, match=f"has SHA-256 {sha256(files['i3d'])}, and the settings pin {'0' * 64}"
    ):
        describe("video classifier", NetworkSettings(path=path, sha256="0" * 64), "tiny", Path("/"))
    assert describe("video classifier", str(files["c3d"]), "tiny", Path("/")).architecture == "C3D"


def test_a_file_that_cannot_serve_is_told_by_its_name_or_by_how_it_is_called(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"a \.pt file cannot serve as image-text model; allowed: a folder\."):
        described("image-text model", files["i3d"])
    with pytest.raises(UserError, match=r"allowed: a folder or \.pt \(Inception-v3\)"):
        described("image classifier", files["c3d"])
    with pytest.raises(UserError, match=r"there is no file .*gone\.pt"):
        describe("image classifier", "networks/gone.pt", "tiny", tmp_path)
    with pytest.raises(UserError, match="is no I3D as published: it lacks rescale, resize; it cannot serve"):
        load(described("video classifier", files["inception"]), "cpu")
    with pytest.raises(UserError, match="is no Inception-v3 as published: it lacks no_output_bias, layers;"):
        load(described("image classifier", files["i3d"]), "cpu")
    classes = save_script(TinyInception(classes=7), tmp_path / "seven.pt")
    with pytest.raises(UserError, match=r"gave values of shape \(1, 7\), not \(1, 1008\)"):
        load(described("image classifier", classes), "cpu").features([noise(1)])
    few = save_c3d(tmp_path / "few.safetensors", classes=5)
    with pytest.raises(UserError, match="has 5 classes, and UCF101 has 101"):
        load(described("video classifier", few), "cpu")
    with pytest.raises(UserError, match=r"I3D in .* cannot read what it was shown: .*[Kk]ernel size"):
        load(described("video classifier", files["i3d"]), "cpu").features([noise(4)])


@pytest.mark.parametrize("name", list(ROLES))
def test_a_damaged_file_and_one_that_was_replaced_are_told(
    files: dict[str, Path], name: str, tmp_path: Path
) -> None:
    file = tmp_path / files[name].name
    file.write_bytes(files[name].read_bytes()[: files[name].stat().st_size // 2])
    with pytest.raises(UserError, match=r"cannot be loaded: .*docs/metrics\.md"):
        load(described(ROLES[name], file), "cpu")
    before = described(ROLES[name], file)
    file.write_bytes(files[name].read_bytes())
    with pytest.raises(UserError, match="was replaced while it was in use; run again"):
        load(before, "cpu")
    load(described(ROLES[name], file), "cpu")
