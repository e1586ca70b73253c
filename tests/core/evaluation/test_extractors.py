"""Extractors on tiny saved networks, against transformers called by hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    CLIPModel,
    ResNetForImageClassification,
    VideoMAEForVideoClassification,
)

from onaspr_core.errors import UserError
from onaspr_core.evaluation.extractors import (
    SHIPPED,
    FeatureSet,
    Role,
    describe,
    fit_frames,
    grouped_softmax,
    is_shipped,
    load,
)
from onaspr_core.evaluation.preprocessing import read_preprocessing
from onaspr_core.media.video import Frames
from onaspr_core.paths import resolve
from tests.core.evaluation.conftest import noise

FOLDERS: dict[Role, str] = {
    "image classifier": "image-classifier",
    "image-text model": "image-text",
    "video classifier": "video-classifier",
}


def described(models: Path, role: Role) -> FeatureSet:
    return describe(role, str(models / FOLDERS[role]), "tiny", Path("/"))


def by_hand(frames: Frames) -> torch.Tensor:
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.5, 0.5, 0.25])
    return ((torch.from_numpy(frames) / 255 - mean) / std).permute(0, 3, 1, 2)


def test_describing_a_network_imports_neither_torch_nor_transformers(models: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from onaspr_core.evaluation.extractors import describe; "
        f"describe('image-text model', {str(models / 'image-text')!r}, 'tiny', Path('/')); "
        "sys.exit(bool({'torch', 'transformers', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_image_features_are_the_pooled_output_of_each_frame(models: Path) -> None:
    video = noise(3, 16, 16)
    found = load(described(models, "image classifier"), "cpu").features([video])[0]
    model = ResNetForImageClassification.from_pretrained(models / "image-classifier").eval()
    with torch.no_grad():
        expected = model.resnet(by_hand(video)).pooler_output.flatten(1)
    assert found["features"].shape == (3, 12)
    np.testing.assert_allclose(found["features"], expected, atol=1e-5)


def test_video_features_are_what_the_classification_layer_reads(models: Path) -> None:
    video = noise(4, 16, 16)
    found = load(described(models, "video classifier"), "cpu").features([video])[0]
    model = VideoMAEForVideoClassification.from_pretrained(models / "video-classifier").eval()
    with torch.no_grad():
        logits = model(by_hand(video)[None]).logits[0]
        again = model.classifier(torch.from_numpy(found["features"]))
    assert found["features"].shape == (16,)
    torch.testing.assert_close(again, logits, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found["probabilities/colour"], logits[:2].softmax(0), atol=1e-5)
    np.testing.assert_allclose(found["probabilities/motion"], logits[2:].softmax(0), atol=1e-5)


def test_image_and_text_embeddings_are_the_projected_ones(models: Path) -> None:
    video, texts = noise(2, 16, 16), ["a red ball", "blue ball left left left left left left left"]
    extractor = load(described(models, "image-text model"), "cpu")
    model = CLIPModel.from_pretrained(models / "image-text").eval()
    tokens = AutoTokenizer.from_pretrained(models / "image-text")(
        texts, padding=True, truncation=True, max_length=8, return_tensors="pt"
    )
    with torch.no_grad():
        out = model(tokens["input_ids"], by_hand(video), tokens["attention_mask"])
    images = extractor.features([video])[0]["features"]
    words = np.stack([one["features"] for one in extractor.texts(texts)])
    unit = [array / np.linalg.norm(array, axis=1, keepdims=True) for array in (images, words)]
    np.testing.assert_allclose(unit[0], out.image_embeds, atol=1e-5)
    np.testing.assert_allclose(unit[1], out.text_embeds, atol=1e-5)


@pytest.mark.parametrize("role", list(FOLDERS))
def test_a_video_has_the_same_features_alone_and_in_a_batch(models: Path, role: Role) -> None:
    videos = [noise(4, 16, 16, seed=1), noise(4, 16, 16, seed=2), noise(4, 24, 24, seed=3)]
    extractor = load(described(models, role), "cpu")
    together = extractor.features(videos)
    for video, found in zip(videos, together, strict=True):
        for name, array in extractor.features([video])[0].items():
            np.testing.assert_allclose(found[name], array, atol=1e-5)


def test_weights_saved_in_half_precision_are_computed_in_single(models: Path, tmp_path: Path) -> None:
    half = ResNetForImageClassification.from_pretrained(models / "image-classifier", dtype=torch.float16)
    half.save_pretrained(tmp_path)
    shutil.copy(models / "image-classifier" / "preprocessor_config.json", tmp_path)
    found = load(describe("image classifier", str(tmp_path), "tiny", tmp_path), "cpu").features(
        [noise(2, 16, 16)]
    )[0]
    with torch.no_grad():
        expected = half.float().resnet(by_hand(noise(2, 16, 16))).pooler_output.flatten(1)
    np.testing.assert_allclose(found["features"], expected, atol=1e-6)


def test_labels_in_groups_have_one_softmax_each_and_others_one_in_all(models: Path, tmp_path: Path) -> None:
    groups = described(models, "video classifier").groups
    assert [(g.name, g.positions, g.values) for g in groups] == [
        ("colour", (0, 1), ("red", "blue")),
        ("motion", (2, 3, 4), ("left", "right", "up")),
    ]
    logits = np.log(np.array([[1.0, 3.0, 1.0, 1.0, 2.0]], np.float32))
    found = grouped_softmax(logits, groups)
    np.testing.assert_allclose(found["probabilities/colour"], [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(found["probabilities/motion"], [[0.25, 0.25, 0.5]], rtol=1e-6)
    plain = shutil.copytree(models / "image-classifier", tmp_path / "plain")
    config = json.loads((plain / "config.json").read_text())
    config["id2label"] = {"0": "cat", "1": "dog: big", "2": "eel", "3": "fox", "4": "gnu"}
    (plain / "config.json").write_text(json.dumps(config))
    (group,) = describe("image classifier", str(plain), "tiny", Path("/")).groups
    assert (group.name, len(group.values)) == ("class", 5)


def test_a_video_of_another_length_is_sampled_evenly_to_what_the_network_reads() -> None:
    assert fit_frames(np.arange(8, dtype=np.uint8), 4).tolist() == [0, 2, 5, 7]
    assert fit_frames(np.arange(2, dtype=np.uint8), 4).tolist() == [0, 0, 1, 1]


def test_the_fingerprint_follows_the_files_and_not_the_place_or_the_label(
    models: Path, tmp_path: Path
) -> None:
    before = described(models, "image classifier")
    copy = shutil.copytree(models / "image-classifier", tmp_path / "elsewhere")
    assert describe("image classifier", "elsewhere", "other", tmp_path).fingerprint == before.fingerprint
    preprocessor = copy / "preprocessor_config.json"
    preprocessor.write_text(preprocessor.read_text().replace("0.5", "0.6"))
    assert describe("image classifier", "elsewhere", "other", tmp_path).fingerprint != before.fingerprint


def test_fid_resizes_in_float_and_clip_in_eight_bits(models: Path) -> None:
    frame = noise(1, 24, 24)
    folder = models / "image-classifier"
    in_float = read_preprocessing(folder, "float")(frame)[0, 0] * 0.5 + 0.5
    channel = Image.fromarray(frame[0, :, :, 0].astype(np.float32))
    expected = np.asarray(channel.resize((16, 16), Image.Resampling.BICUBIC)) / 255
    np.testing.assert_allclose(in_float, expected, atol=1e-6)
    in_bytes = read_preprocessing(folder, "uint8")(frame)[0, 0] * 0.5 + 0.5
    steps = in_bytes * 255
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
    assert float((in_float - in_bytes).abs().max()) > 1e-4


def white_half(size: int) -> Frames:
    frame = np.zeros((1, size, size, 3), np.uint8)
    frame[:, :, size // 2 :] = 255
    return frame


@pytest.mark.parametrize("size", [8, 40])
def test_the_float_resize_clips_what_a_bicubic_kernel_overshoots_as_clean_fid_does(
    models: Path, size: int
) -> None:
    frame = white_half(size)
    channel = Image.fromarray(frame[0, :, :, 0].astype(np.float32))
    raw = np.asarray(channel.resize((16, 16), Image.Resampling.BICUBIC))
    assert raw.min() < -1
    assert raw.max() > 256
    found = read_preprocessing(models / "image-classifier", "float")(frame)[0, 0] * 0.5 + 0.5
    np.testing.assert_allclose(found, raw.clip(0, 255) / 255, atol=1e-6)


def test_the_miniatures_networks_are_known_by_their_files(models: Path, tmp_path: Path) -> None:
    for role, shipped in SHIPPED.items():
        copy = shutil.copytree(resolve(shipped, Path("/")), tmp_path / FOLDERS[role])
        assert is_shipped(describe(role, shipped, "anything", Path("/")))
        assert is_shipped(describe(role, str(copy), "anything", Path("/")))
        assert not is_shipped(describe(role, str(models / FOLDERS[role]), "miniature", Path("/")))


def test_the_shorter_edge_and_the_centre_crop_are_clips(tmp_path: Path) -> None:
    values = {"size": {"shortest_edge": 8}, "crop_size": 8, "do_center_crop": True, "image_mean": [0, 0, 0]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**values, "image_std": [1, 1, 1]}))
    frame = np.zeros((1, 8, 12, 3), np.uint8)
    frame[:, :, 2:10] = 255
    assert float(read_preprocessing(tmp_path, "uint8")(frame).min()) == 1.0


def test_what_is_missing_or_of_another_kind_is_said_in_a_sentence(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        describe("image classifier", "nowhere", "tiny", tmp_path)
    with pytest.raises(UserError, match="allowed: VideoMAEForVideoClassification"):
        describe("video classifier", str(models / "image-classifier"), "tiny", tmp_path)
    broken = shutil.copytree(models / "image-classifier", tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    (broken / "model.safetensors").unlink()
    torch.save({name: value.clone() for name, value in weights.items()}, broken / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(describe("image classifier", str(broken), "tiny", tmp_path))
    (broken / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="resized and normalised"):
        load(describe("image classifier", str(broken), "tiny", tmp_path))
    with pytest.raises(UserError, match="reads no text"):
        load(described(models, "image classifier"), "cpu").texts(["a"])
