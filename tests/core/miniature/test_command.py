"""The training command: every stage runs, in order, and ends in a folder that the libraries load."""

from pathlib import Path

import pytest
from transformers import VideoMAEForVideoClassification

from onaspr_core.miniature import world
from onaspr_core.miniature.train import __main__ as command
from onaspr_core.miniature.train import quality, text_to_image
from onaspr_core.training import scvideo as training


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
    kept = tmp_path / "tokenizer"
    tokenizers = {path.read_bytes() for root in (kept, weights) for path in root.rglob("tokenizer.json")}
    assert len(tokenizers) == 1, "all stages and all exported models share one"
    assert not any("_name_or_path" in path.read_text() for path in weights.rglob("*.json"))
    before = (tmp_path / "video-classifier.safetensors").stat().st_mtime_ns
    assert command.main(["--out", str(tmp_path), "--stage", "video-classifier", "--steps", "2"]) == 0
    assert (tmp_path / "video-classifier.safetensors").stat().st_mtime_ns == before


def test_a_stage_whose_input_is_missing_says_which_stage_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny: None
) -> None:
    assert command.main(["--out", str(tmp_path), "--stage", "text-to-video", "--steps", "1"]) == 1
    assert "train --stage autoencoder first" in capsys.readouterr().err


def run(out: Path, stage: str, steps: int) -> int:
    return command.main(["--out", str(out), "--stage", stage, "--steps", str(steps)])


def test_a_stage_refuses_to_go_on_from_another_model_and_says_what_to_delete(
    tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("autoencoder", "text-to-video", "text-to-image"):
        assert run(tmp_path, stage, 2) == 0
    assert run(tmp_path, "text-to-video", 3) == 0
    assert run(tmp_path, "text-to-image", 2) == 1
    told = capsys.readouterr().err
    assert "text-to-image.safetensors was trained from another model" in told and "delete it" in told
    (tmp_path / "text-to-image.safetensors").unlink()
    assert run(tmp_path, "text-to-image", 2) == 0


def test_a_model_whose_training_was_ended_half_way_is_not_exported(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("autoencoder", "text-to-video", "text-to-image", "scvideo"):
        assert run(tmp_path, stage, 2) == 0

    def ended(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for stage, room in (("scvideo", training), ("text-to-image", text_to_image)):
        with monkeypatch.context() as patch:
            patch.setattr(room, "train", ended)
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, stage, 3)
    assert command.main(["--out", str(tmp_path), "--stage", "export"]) == 0
    assert {path.name for path in (tmp_path / "weights").iterdir() if path.is_dir()} == {"text-to-video"}


def test_steps_need_a_stage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        command.main(["--out", str(tmp_path), "--steps", "5"])
