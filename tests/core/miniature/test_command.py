"""The training command: every stage runs, in order, and ends in a folder that the libraries load."""

from pathlib import Path

import pytest
from transformers import VideoMAEForVideoClassification

from onaspr_core.miniature import world
from onaspr_core.miniature.train import __main__ as command
from onaspr_core.miniature.train import quality


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CLIPS", 8)
    monkeypatch.setattr(command, "EXAMPLES", 4)
    monkeypatch.setattr(command, "POOL", 4)
    monkeypatch.setattr(world, "benchmark_sources", lambda seed: [])
    monkeypatch.setattr(quality, "measure", lambda weights, seed: {"accuracy": 1 / 3})


def test_all_stages_run_and_a_finished_stage_is_only_loaded(tiny: None, tmp_path: Path) -> None:
    for stage in command.STAGES:
        steps = [] if stage == "export" else ["--steps", "2"]
        assert command.main(["--out", str(tmp_path), "--stage", stage, *steps]) == 0
    weights = tmp_path / "weights"
    parts = ("text-to-video/unet", "text-to-video/vae", "text-to-image/unet", "scvideo/unet", "scvideo/vae")
    for part in (*parts, "image-text", "image-classifier"):
        assert list((weights / part).glob("*.safetensors"))
    model = VideoMAEForVideoClassification.from_pretrained(weights / "video-classifier")
    labels = list((model.config.id2label or {}).values())
    assert [labels[i] for i in (0, 4, 7, 11)] == [
        "colour:red",
        "shape:ball",
        "motion:left",
        "background:sea",
    ]
    assert '"accuracy": 0.3333' in (weights / "quality.json").read_text()
    for stage in ("scvideo", "text-to-image", "video-classifier"):
        assert f'"{stage}": 2' in (weights / "quality.json").read_text()
    assert not list((weights / "scvideo").rglob(".*"))
    before = (tmp_path / "video-classifier.safetensors").stat().st_mtime_ns
    assert command.main(["--out", str(tmp_path), "--stage", "video-classifier", "--steps", "2"]) == 0
    assert (tmp_path / "video-classifier.safetensors").stat().st_mtime_ns == before


def test_a_stage_whose_input_is_missing_says_which_stage_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: None
) -> None:
    assert command.main(["--out", str(tmp_path), "--stage", "text-to-video", "--steps", "1"]) == 1
    assert "train --stage autoencoder first" in capsys.readouterr().err


def test_steps_need_a_stage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        command.main(["--out", str(tmp_path), "--steps", "5"])
