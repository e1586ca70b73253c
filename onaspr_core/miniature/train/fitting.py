"""The training loop of the miniature's models but SCVideo: AdamW, an average of weights, exact resume.

A stage hands in a module and a loss of (step); the loop knows nothing about what is learnt. Everything
random is drawn from (seed, stage, step), so a run that was interrupted goes on as if it had not been.
Checkpoints are one safetensors file each (weights, average, optimizer state), replaced atomically.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from onaspr_core.errors import UserError
from onaspr_core.progress import track
from onaspr_core.training.averages import follow
from onaspr_core.training.state import packed, unpack

Loss = Callable[[int], Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast one stage learns. `decay` is the last part of the steps, with falling rate."""

    name: str
    steps: int
    rate: float
    warm_up: int = 100
    decay: float = 0.2
    averaging: float = 0.999
    weight_decay: float = 0.01
    clip: float = 1.0
    save_every: int = 250
    log_every: int = 50

    def rate_at(self, step: int) -> float:
        """The learning rate of step 0 … steps − 1: linear warm-up, constant, linear decay towards zero."""
        left = (self.steps - step) / max(1.0, self.steps * self.decay)
        return self.rate * min(1.0, (step + 1) / self.warm_up, left)


def generators(seed: int, stage: str, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """A numpy and a torch (CPU) generator that depend on nothing but these three."""
    rng = np.random.default_rng([seed, *stage.encode(), step])
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


def fit(module: nn.Module, loss: Loss, plan: Plan, folder: Path) -> None:
    """Train `module` in place from its latest checkpoint in `folder`, then load the average into it.

    Writes `<folder>/<name>.safetensors` and one line per `log_every` steps to `<folder>/log.jsonl`.
    The module is left in evaluation mode; it also trains in that mode: nothing here uses dropout.
    Raises UserError when a loss is not finite.
    """
    module.eval()
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(module.named_parameters())
    average = {name: p.detach().clone() for name, p in named.items()}
    optimizer = torch.optim.AdamW(
        named.values(), lr=plan.rate, weight_decay=plan.weight_decay, betas=(0.9, 0.99)
    )
    path = folder / f"{plan.name}.safetensors"
    done = _restore(path, named, average, optimizer) if path.exists() else 0
    window: list[float] = []
    started = time.monotonic()
    with track(f"training {plan.name}", plan.steps, before=done) as advance:
        for step in range(done, plan.steps):
            window.append(_update(loss, step, plan, named, average, optimizer))
            if (step + 1) % plan.log_every == 0:
                seconds = (time.monotonic() - started) / len(window)
                _log(folder, plan, step + 1, float(np.mean(window)), seconds)
                window, started = [], time.monotonic()
            if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                _save(path, step + 1, named, average, optimizer)
            advance(1)
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(average[name])


def load_average(module: nn.Module, path: Path) -> int:
    """Load the averaged weights of a checkpoint into `module`; returns the step it was written at."""
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(file.get_tensor(f"average.{name}"))
    return step_of(path)


def step_of(path: Path) -> int:
    """The step that a checkpoint was written at."""
    with safe_open(path, "pt") as file:
        return int(file.metadata()["step"])


def require_same_source(result: Path, source: str) -> None:
    """Note beside a stage's result what it is trained from, and refuse to go on from anything else.

    Args:
        result: The stage's checkpoint or folder, there or not yet.
        source: The hash of the models that the stage starts from.

    Raises:
        UserError: when the result was begun from another source.
    """
    note = result.with_name(f"{result.name}.source")
    if result.exists() and note.exists() and note.read_text() != source:
        raise UserError(f"{result} was trained from another model than is there now; delete it to train anew")
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(source)


def _update(
    loss: Loss,
    step: int,
    plan: Plan,
    named: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    value = loss(step)
    if not math.isfinite(value.item()):
        raise UserError(f"training {plan.name}: the loss is {value.item()} at step {step}; lower the rate")
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(named.values(), plan.clip)
    optimizer.step()
    follow(list(average.values()), list(named.values()), plan.averaging, step)
    return float(value.item())


def _save(
    path: Path,
    step: int,
    named: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    partial = path.with_suffix(f".partial-{os.getpid()}")
    save_file(packed(named, optimizer, average), partial, metadata={"step": str(step)})
    partial.replace(path)


def _restore(
    path: Path,
    named: dict[str, nn.Parameter],
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    try:
        unpack(load_file(path), named, optimizer, average)
    except (KeyError, ValueError) as problem:
        raise UserError(
            f"{path} was written by another model; choose another --out or remove it"
        ) from problem
    return step_of(path)


def _log(folder: Path, plan: Plan, step: int, loss: float, seconds: float) -> None:
    line = {"stage": plan.name, "step": step, "loss": round(loss, 6), "rate": plan.rate_at(step - 1)}
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line | {"seconds_per_step": round(seconds, 3)}) + "\n")
