"""Training on a tiny pool: what moves, what is learnt, and runs that are ended and go on."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from onaspr_core.backbones.registry import load_backbone
from onaspr_core.errors import UserError
from onaspr_core.media.video import Frames
from onaspr_core.sampling import sample_latents
from onaspr_core.settings import BackboneSettings, PoolSettings, Settings
from onaspr_core.training import scvideo, state
from onaspr_core.training.__main__ import main
from onaspr_core.training.scvideo import Lessons, Plan, train
from onaspr_core.workspace import Workspace
from tests.tiny_scvideo import save_tiny_image_model

PLAN = Plan(steps=4, checkpoint_every=2, batch_size=2, learning_rate=1e-3, empty_prompts=0.5)
CAPTIONS = pa.table(
    {"clip_key": ["0", "1", "2", "unreadable"], "caption": ["a cat", "two dogs", "the sea", "x"]}
)
UNET = "unet/diffusion_pytorch_model.safetensors"


def clips_of(workspace: Workspace, keys: Sequence[str]) -> Iterator[Frames | UserError]:
    for key in keys:
        if key == "unreadable":
            yield UserError("truncated")
        else:
            levels = 60 * int(key) + 40 * np.arange(3)
            yield np.broadcast_to(levels[:, None, None, None], (3, 16, 16, 3)).astype(np.uint8)


@pytest.fixture(scope="session", params=["epsilon", "v_prediction"])
def image_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_image_model(tmp_path_factory.mktemp("tiny-sd"), request.param)


def settings_of(folder: Path, **told: Any) -> BackboneSettings:
    return BackboneSettings(
        family="scvideo", path=str(folder), frames=3, height=16, width=16, device="cpu", **told
    )


@pytest.fixture
def workspace(image_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(scvideo, "pool_captions", lambda workspace, name: CAPTIONS)
    monkeypatch.setattr(scvideo, "readable_clips", clips_of)
    backbones = {"sd": settings_of(image_model)}
    pool = PoolSettings(format="folder", path="captions.csv", videos="videos")
    return Workspace(Settings(base=tmp_path, pools={"pool": pool}, backbones=backbones, experiments={}))


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(folder / UNET)
    return found


def test_what_was_inserted_moves_and_nothing_else_does(
    workspace: Workspace, image_model: Path, tmp_path: Path
) -> None:
    train(workspace, "sd", "pool", tmp_path / "out", PLAN)
    before = {f"unet.{name}": value for name, value in weights(image_model).items()}
    moved = 0
    for name, value in weights(tmp_path / "out").items():
        if ".temporal." in name:
            moved += int(value.abs().max() > 0 and name.endswith(("conv4.3.weight", "proj_out.weight")))
        else:
            assert torch.equal(value, before.pop(name.replace(".spatial.", "."))), name
    assert moved == 12 and not before


def test_the_saved_folder_is_a_backbone_that_moves(
    workspace: Workspace, image_model: Path, tmp_path: Path
) -> None:
    train(workspace, "sd", "pool", tmp_path / "out", PLAN)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    z = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    image, video = (
        sample_latents(load_backbone(settings_of(folder), Path()), z, ["a cat"], steps=3, guidance=4.0)
        for folder in (image_model, tmp_path / "moved")
    )
    assert float((image - video).abs().max()) > 1e-4
    assert not list((tmp_path / "moved").rglob("*.bin"))


def test_the_loss_falls(workspace: Workspace, image_model: Path, tmp_path: Path) -> None:
    plan = Plan(steps=60, checkpoint_every=60, batch_size=2, learning_rate=3e-3, empty_prompts=0)
    train(workspace, "sd", "pool", tmp_path / "out", plan)
    accelerator = Accelerator(cpu=True, mixed_precision="no", device_placement=False)
    before, after = (
        sum(
            float(Lessons(workspace, CAPTIONS, trained, plan).loss(step, accelerator).item())
            for step in range(1000, 1010)
        )
        for trained in (_opened(folder) for folder in (image_model, tmp_path / "out"))
    )
    assert after < 0.9 * before


def _opened(folder: Path) -> Any:
    return load_backbone(settings_of(folder), Path())


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_run_that_was_ended_goes_on_to_the_bit(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float
) -> None:
    plan = replace(PLAN, ema_decay=ema_decay)
    straight = train(workspace, "sd", "pool", tmp_path / "straight", plan)
    loss = Lessons.loss

    def ended(self: Lessons, step: int, accelerator: Accelerator) -> Tensor:
        if step == 3:
            raise KeyboardInterrupt
        return loss(self, step, accelerator)

    monkeypatch.setattr(Lessons, "loss", ended)
    with pytest.raises(KeyboardInterrupt):
        train(workspace, "sd", "pool", tmp_path / "ended", plan)
    assert not (tmp_path / "ended" / UNET).exists()
    monkeypatch.setattr(Lessons, "loss", loss)
    torch.manual_seed(99)
    assert train(workspace, "sd", "pool", tmp_path / "ended", plan, resume=True) == straight[2:]
    assert (tmp_path / "ended" / UNET).read_bytes() == (tmp_path / "straight" / UNET).read_bytes()
    kept = sorted(path.name for path in (tmp_path / "ended" / state.FOLDER).rglob("*"))
    assert kept == ["run.json", "state.json", "step-000000004", "tensors.safetensors"]


def test_what_is_saved_is_the_average_of_the_weights_after_each_step(
    workspace: Workspace, tmp_path: Path
) -> None:
    plan = replace(PLAN, ema_decay=0.9)
    name = "unet.mid_block.attentions.0.temporal.proj_out.bias"
    after = []
    for steps in range(1, 5):
        train(workspace, "sd", "pool", tmp_path / f"{steps}", replace(PLAN, steps=steps))
        after.append(weights(tmp_path / f"{steps}")[name])
    expected = torch.zeros_like(after[0])
    for step, value in enumerate(after):
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    train(workspace, "sd", "pool", tmp_path / "out", plan)
    saved = weights(tmp_path / "out")[name]
    assert torch.allclose(saved, expected, rtol=1e-5, atol=0)
    assert not torch.equal(saved, after[-1])


def test_a_run_begun_before_averages_goes_on_without_one(workspace: Workspace, tmp_path: Path) -> None:
    train(workspace, "sd", "pool", tmp_path / "out", replace(PLAN, steps=2))
    note = tmp_path / "out" / state.FOLDER / state.RUN
    told = json.loads(note.read_text())
    del told["ema_decay"]
    note.write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"ema_decay = 0\.0"):
        train(workspace, "sd", "pool", tmp_path / "out", replace(PLAN, ema_decay=0.9), resume=True)
    assert len(train(workspace, "sd", "pool", tmp_path / "out", PLAN, resume=True)) == 2


def test_a_finished_run_is_saved_again_without_a_step(workspace: Workspace, tmp_path: Path) -> None:
    train(workspace, "sd", "pool", tmp_path / "out", PLAN)
    before = (tmp_path / "out" / UNET).read_bytes()
    shutil.rmtree(tmp_path / "out" / "unet")
    assert train(workspace, "sd", "pool", tmp_path / "out", PLAN, resume=True) == []
    assert (tmp_path / "out" / UNET).read_bytes() == before


def test_a_step_is_drawn_from_its_seed_and_number(workspace: Workspace, image_model: Path) -> None:
    accelerator = Accelerator(cpu=True, mixed_precision="no", device_placement=False)

    def loss(step: int, **told: Any) -> float:
        lessons = Lessons(workspace, CAPTIONS, _opened(image_model), Plan(batch_size=2, **told))
        return float(lessons.loss(step, accelerator).item())

    assert loss(1) == loss(1)
    assert len({loss(1), loss(2), loss(1, seed=1)}) == 3


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_captions_are_left_out_as_often_as_the_plan_says(
    share: float, workspace: Workspace, image_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, seen = _opened(image_model), []
    encode = backbone.encode_prompts

    def recorded(texts: list[str]) -> Any:
        seen.extend(texts)
        return encode(texts)

    monkeypatch.setattr(backbone, "encode_prompts", recorded)
    lessons = Lessons(
        workspace,
        CAPTIONS,
        backbone,
        Plan(batch_size=8, empty_prompts=share),
    )
    lessons.loss(0, Accelerator(cpu=True, mixed_precision="no", device_placement=False))
    assert len(seen) == 8 and set(seen) <= ({""} if share else {"a cat", "two dogs", "the sea"})


def test_an_output_of_something_else_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(UserError, match="not empty"):
        train(workspace, "sd", "pool", tmp_path / "other", PLAN, resume=True)
    train(workspace, "sd", "pool", tmp_path / "out", PLAN)
    with pytest.raises(UserError, match="add --resume"):
        train(workspace, "sd", "pool", tmp_path / "out", PLAN)
    with pytest.raises(UserError, match=r"begun with seed = 0;"):
        other = Plan(**{**vars(PLAN), "seed": 1})
        train(workspace, "sd", "pool", tmp_path / "out", other, resume=True)


def test_a_damaged_state_is_told(workspace: Workspace, tmp_path: Path) -> None:
    train(workspace, "sd", "pool", tmp_path / "out", PLAN)
    (tmp_path / "out" / state.FOLDER / "step-000000004" / "tensors.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="step-000000004 cannot be read"):
        train(workspace, "sd", "pool", tmp_path / "out", PLAN, resume=True)


def test_unknown_names_and_clips_that_cannot_be_read_are_told(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"'x': .* family scvideo; allowed: sd"):
        train(workspace, "x", "pool", tmp_path / "out", PLAN)
    with pytest.raises(UserError, match="no pool 'x' in the settings; allowed: pool"):
        train(workspace, "sd", "x", tmp_path / "out", PLAN)
    unreadable = ["unreadable"]
    monkeypatch.setattr(scvideo, "readable_clips", lambda w, keys: clips_of(w, unreadable * len(keys)))
    with pytest.raises(UserError, match="clips cannot be read"):
        train(workspace, "sd", "pool", tmp_path / "out", PLAN)


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"learning_rate": float("nan")}, {"empty_prompts": 1.5}, {"ema_decay": 1}, {"seed": -1}],
)
def test_a_value_out_of_range_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        Plan(**change)


def test_the_command_trains_and_tells(
    workspace: Workspace, image_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "captions.csv").touch()
    (tmp_path / "videos").mkdir()
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[pools.pool]\nformat = "folder"\npath = "captions.csv"\nvideos = "videos"\n'
        f'[backbones.sd]\nfamily = "scvideo"\npath = {json.dumps(str(image_model))}\nframes = 3\n'
        'height = 16\nwidth = 16\ndevice = "cpu"\n[experiments]\n'
    )
    told = ["--settings", str(settings), "--backbone", "sd", "--pool", "pool", "--steps", "1"]
    assert main([*told, "--output", str(tmp_path / "out"), "--gradient-checkpointing"]) == 0
    assert (tmp_path / "out" / UNET).is_file()
    assert main([*told, "--output", str(tmp_path / "out")]) == 1
    assert "add --resume" in capsys.readouterr().err
