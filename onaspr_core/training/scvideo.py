"""Teaching SCVideo to move: what was inserted into Stable Diffusion learns from a pool, nothing else does.

The loss is Stable Diffusion's own, with the noise or the velocity as the scheduler's configuration says. All
that is random in a step is drawn from the run's seed and the number of the step, so that a run that was ended
goes on as if it had not been, on a CPU to the bit.
"""

import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as functional
from accelerate import Accelerator
from torch import Tensor, nn

from onaspr_core.backbones.families import FAMILIES, PICKLES
from onaspr_core.backbones.registry import backbone_fingerprint, load_backbone
from onaspr_core.backbones.scvideo import SCVideoBackbone
from onaspr_core.diffusion.levels import training_alphas_cumprod
from onaspr_core.errors import UserError
from onaspr_core.media.frames import fit_frames, to_video
from onaspr_core.media.video import Frames
from onaspr_core.pool.clips import readable_clips
from onaspr_core.pool.manifest import pool_captions
from onaspr_core.progress import logger, track
from onaspr_core.settings import BackboneSettings
from onaspr_core.training import state
from onaspr_core.training.averages import follow
from onaspr_core.workspace import Workspace

FAMILY = "scvideo"
PRECISIONS = {"float32": "no", "float16": "fp16", "bfloat16": "bf16"}
DRAWS_PER_CLIP = 20
"""A step that finds no readable clip in so many draws for each that it needs ends the run."""
ROWS_PER_HASH = 65_536


@dataclass(frozen=True)
class Plan:
    """How long and how fast is learnt; all but the first two and the last stay the same when a run goes on.

    Attributes:
        steps: How many steps the run has in all.
        checkpoint_every: After how many steps its state is kept.
        batch_size: Clips of a step.
        learning_rate: Of AdamW, the same at every step.
        empty_prompts: Share of clips that are seen with the empty caption, for guidance.
        ema_decay: What is saved is an exponential moving average of the weights after each step; 0 is the
            last ones. It starts faster, so that the first steps are soon forgotten.
        seed: What is drawn in a step is drawn from it and the step.
        gradient_checkpointing: Compute activations twice instead of keeping them.
    """

    steps: int = 10_000
    checkpoint_every: int = 500
    batch_size: int = 1
    learning_rate: float = 1e-4
    empty_prompts: float = 0.1
    ema_decay: float = 0.0
    seed: int = 0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raise a UserError for a value that is out of range."""
        for name in ("steps", "checkpoint_every", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} = {getattr(self, name)}: it must be 1 or more")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UserError(f"learning_rate = {self.learning_rate}: it must be a number above 0")
        if not 0 <= self.empty_prompts <= 1:
            raise UserError(f"empty_prompts = {self.empty_prompts}: it must be from 0 to 1")
        if not 0 <= self.ema_decay < 1:
            raise UserError(f"ema_decay = {self.ema_decay}: it must be from 0 to below 1")
        if self.seed < 0:
            raise UserError(f"seed = {self.seed}: it must be 0 or more")


def train(
    workspace: Workspace, backbone: str, pool: str, output: Path, plan: Plan, resume: bool = False
) -> list[float]:
    """Train what a backbone of this family has inserted, and save a whole backbone's folder.

    Weights and optimizer are float32; the backbone's dtype is that of the computation.

    Args:
        workspace: Its pool's clips must have been materialized.
        backbone: A name in the settings, of Stable Diffusion or of an SCVideo to train further.
        pool: A name in the settings.
        output: Where the folder becomes complete with the last step.
        plan: How.
        resume: Go on with the run that is in the output, if there is one.

    Returns:
        The losses of the steps that were made now.

    Raises:
        UserError: for an unknown name, a backbone of another family, a pool without clips, an output of
            something else, and a loss that is not finite.
    """
    settings = _settings(workspace, backbone)
    captions = _captions(workspace, pool)
    accelerator = _accelerator(settings)
    full = settings.model_copy(update={"dtype": "float32", "offload": "none", "compile": False})
    found = state.begin(output, _run(workspace, full, settings.dtype, captions, plan), resume)
    trainee = load_backbone(full, workspace.settings.base)
    assert isinstance(trainee, SCVideoBackbone)
    if plan.gradient_checkpointing:
        trainee.unet.enable_gradient_checkpointing()
    losses = _fit(Lessons(workspace, captions, trainee, plan), accelerator, output, found)
    _save(trainee, output)
    return losses


class Lessons:
    """The loss of each step, from clips of a pool."""

    def __init__(
        self, workspace: Workspace, captions: pa.Table, backbone: SCVideoBackbone, plan: Plan
    ) -> None:
        """Take a pool's captions with their clip keys, and a backbone in float32.

        Raises:
            UserError: for a prediction type other than "epsilon" and "v_prediction".
        """
        self.backbone, self.plan = backbone, plan
        self._workspace, self._captions = workspace, captions
        if backbone.prediction_type not in ("epsilon", "v_prediction"):
            raise UserError(
                f"prediction_type = {backbone.prediction_type!r} in the scheduler's configuration: only "
                "epsilon and v_prediction are trained"
            )
        alphas = torch.from_numpy(training_alphas_cumprod(backbone.scheduler_config))
        self._signal, self._noise = alphas.sqrt().float(), (1 - alphas).sqrt().float()

    def loss(self, step: int, accelerator: Accelerator) -> Tensor:
        """Return how far the predictions for a step's clips are from what was to be predicted, ().

        Raises:
            UserError: when the pool's clips cannot be read.
        """
        plan, backbone = self.plan, self.backbone
        rng = np.random.default_rng([plan.seed, step])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        timesteps = torch.from_numpy(rng.integers(len(self._signal), size=plan.batch_size))
        empty = rng.random(plan.batch_size) < plan.empty_prompts
        video, captions = self._clips(rng)
        texts = ["" if drop else caption for caption, drop in zip(captions, empty, strict=True)]
        clean = backbone.encode(video)
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        signal, level = (
            weight[timesteps, None, None, None, None].to(clean.device)
            for weight in (self._signal, self._noise)
        )
        target = noise if backbone.prediction_type == "epsilon" else signal * noise - level * clean
        conditioning = backbone.encode_prompts(texts)
        with accelerator.autocast():
            predicted = backbone.denoiser(
                signal * clean + level * noise, timesteps.to(clean.device), conditioning.prompts
            )
        return functional.mse_loss(predicted.float(), target)

    def _clips(self, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Draw a step's clips, (B, 3, F, H, W), and their captions; one that cannot be read is left out."""
        wanted, captions = self.plan.batch_size, []
        clips: list[Frames] = []
        drawn = iter(rng.integers(len(self._captions), size=wanted * DRAWS_PER_CLIP).tolist())
        while rows := list(itertools.islice(drawn, wanted - len(clips))):
            keys = [self._captions["clip_key"][row].as_py() for row in rows]
            for row, found in zip(rows, readable_clips(self._workspace, keys), strict=True):
                if isinstance(found, UserError):
                    logger.warning("left out of training: %s", found)
                    continue
                clips.append(fit_frames(found, *self.backbone.video_shape)[0])
                captions.append(self._captions["caption"][row].as_py())
        if len(clips) < wanted:
            raise UserError("the pool's clips cannot be read; materialize pool_clips again")
        return to_video(clips), captions


def _fit(lessons: Lessons, accelerator: Accelerator, output: Path, found: Path | None) -> list[float]:
    """Train from the state that was found, and keep new ones in the output; return the losses."""
    plan, unet = lessons.plan, lessons.backbone.unet
    unet.requires_grad_(False)
    for module in unet.inserted():
        module.requires_grad_(True)
    named = {name: parameter for name, parameter in unet.named_parameters() if parameter.requires_grad}
    adam = torch.optim.AdamW(named.values(), lr=plan.learning_rate)
    optimizer = accelerator.prepare(adam)
    average = {name: p.detach().clone() for name, p in named.items()} if plan.ema_decay else {}
    told = state.restore(found, named, adam, average) if found else {"step": 0}
    if accelerator.scaler is not None and "scaler" in told:
        accelerator.scaler.load_state_dict(told["scaler"])
    losses: list[float] = []
    with track("training scvideo", plan.steps, before=told["step"]) as advance:
        for step in range(told["step"], plan.steps):
            losses.append(_update(lessons.loss(step, accelerator), step, named, optimizer, accelerator))
            if average:
                follow(list(average.values()), list(named.values()), plan.ema_decay, step)
            if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps:
                scaler = {} if accelerator.scaler is None else {"scaler": accelerator.scaler.state_dict()}
                state.save(output, step + 1, named, adam, average, scaler)
                mean = float(np.mean(losses[-plan.checkpoint_every :]))
                logger.info("training scvideo: state kept after step %d, mean loss %.4f", step + 1, mean)
            advance(1)
    with torch.no_grad():
        for name, value in average.items():
            named[name].copy_(value)
    return losses


def _update(
    loss: Tensor, step: int, named: dict[str, nn.Parameter], optimizer: Any, accelerator: Accelerator
) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise UserError(f"the loss is {value} at step {step}; use a lower learning rate, or dtype bfloat16")
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(named.values(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return value


def _save(backbone: SCVideoBackbone, output: Path) -> None:
    """Save the UNet, and copy what else the backbone has; pickles stay behind.

    Each part appears whole, and the UNet last: until then the folder is no backbone, or the one that it was.
    """
    family = FAMILIES[FAMILY]
    parts = {*family.models, *(Path(file).parts[0] for file in family.files)} - {"unet"}
    partial = output / state.FOLDER / "saved.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for part in sorted(parts):
        pickles = shutil.ignore_patterns(*(f"*{suffix}" for suffix in PICKLES))
        shutil.copytree(backbone.weights.files.folder / part, partial / part, ignore=pickles)
    backbone.unet.save_pretrained(partial / "unet")
    for part in (*sorted(parts), "unet"):
        shutil.rmtree(output / part, ignore_errors=True)
        (partial / part).replace(output / part)
    partial.rmdir()


def _settings(workspace: Workspace, name: str) -> BackboneSettings:
    known = workspace.settings.backbones
    if name not in known or known[name].family != FAMILY:
        allowed = ", ".join(one for one, settings in known.items() if settings.family == FAMILY)
        raise UserError(
            f"backbone {name!r}: the settings have none of that name and family {FAMILY}; "
            f"allowed: {allowed or 'none is defined'}"
        )
    return known[name]


def _captions(workspace: Workspace, pool: str) -> pa.Table:
    if pool not in workspace.settings.pools:
        allowed = ", ".join(workspace.settings.pools) or "none is defined"
        raise UserError(f"there is no pool {pool!r} in the settings; allowed: {allowed}")
    captions = pool_captions(workspace, pool).combine_chunks()
    if not len(captions):
        raise UserError(f"pool {pool} has no clip to learn from; see what pool_clips says of its videos")
    return captions


def _accelerator(settings: BackboneSettings) -> Accelerator:
    cpu = settings.device == "cpu" or not torch.cuda.is_available()
    if cpu and settings.dtype == "float16":
        raise UserError("dtype float16 is trained on a GPU only; use float32 or bfloat16")
    accelerator = Accelerator(cpu=cpu, mixed_precision=PRECISIONS[settings.dtype], device_placement=False)
    if accelerator.num_processes > 1:
        raise UserError("training runs in one process; start it with python, not with accelerate launch")
    return accelerator


def _run(
    workspace: Workspace, settings: BackboneSettings, dtype: str, captions: pa.Table, plan: Plan
) -> dict[str, Any]:
    """What determines the weights after so many steps."""
    digest = hashlib.sha256()
    for rows in _columns(captions):
        digest.update(json.dumps(rows).encode())
    return {
        "backbone": backbone_fingerprint(settings, workspace.settings.base),
        "dtype": dtype,
        "captions": digest.hexdigest(),
        "batch_size": plan.batch_size,
        "learning_rate": plan.learning_rate,
        "empty_prompts": plan.empty_prompts,
        "ema_decay": plan.ema_decay,
        "seed": plan.seed,
    }


def _columns(captions: pa.Table) -> Iterator[dict[str, list[str]]]:
    for batch in captions.select(["clip_key", "caption"]).to_batches(ROWS_PER_HASH):
        yield batch.to_pydict()
