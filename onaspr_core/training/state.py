"""What a training run needs to go on after it was ended, in its output's hidden folder `.training`.

`run.json` says what was begun. `step-N` holds weights and optimizer as safetensors, and the rest as JSON; it
appears whole or not at all. Hidden files are no part of a model: the output is a backbone's folder beside
them.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from onaspr_core.errors import UserError
from onaspr_core.whole_files import write_whole

FOLDER = ".training"
RUN = "run.json"
UNSAID: Mapping[str, Any] = {"ema_decay": 0.0}
"""What the notes of runs leave out that were begun before it could be chosen."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""


def begin(output: Path, run: Mapping[str, Any], resume: bool) -> Path | None:
    """Begin a run in an empty folder, or find where one goes on.

    Args:
        output: The run's folder; made where it is not there.
        run: What determines its results, JSON values by name.
        resume: Whether a run may have been begun there.

    Returns:
        The folder of its latest state; None for a run without one.

    Raises:
        UserError: when the folder holds another run or anything else, or a run and `resume` is false.
    """
    note = output / FOLDER / RUN
    if not note.exists():
        if output.is_dir() and any(path.name != FOLDER for path in output.iterdir()):
            raise UserError(f"{output} is not empty and holds no training run; name another folder")
        write_whole(note, json.dumps(run, indent=1).encode() + b"\n")
        return None
    if not resume:
        raise UserError(f"{output} holds a training run; add --resume to go on, or name another folder")
    begun = {**UNSAID, **_read(note)}
    changed = [f"{name} = {begun.get(name)!r}" for name, value in run.items() if begun.get(name) != value]
    if changed:
        raise UserError(
            f"the run in {output} was begun with {', '.join(changed)}; go on with the same, or name another "
            "folder"
        )
    return _latest(output)


def steps_of(output: Path) -> int:
    """Return after how many steps the latest state of a run was kept; 0 without one."""
    latest = _latest(output)
    return int(_read(latest / "state.json")["step"]) if latest else 0


def save(
    output: Path,
    step: int,
    named: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    told: Mapping[str, Any],
) -> None:
    """Keep the state after so many steps, in place of earlier ones.

    Args:
        output: The run's folder.
        step: How many steps were made.
        named: The parameters that learn.
        optimizer: Their AdamW.
        average: Their moving averages; may be empty.
        told: What else there is, JSON values by name.
    """
    folder = output / FOLDER / f"step-{step:09d}"
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file(packed(named, optimizer, average), partial / "tensors.safetensors")
    (partial / "state.json").write_text(json.dumps({"step": step, **told}) + "\n", encoding="utf-8")
    partial.replace(folder)
    for other in folder.parent.glob("step-*"):
        if other != folder:
            shutil.rmtree(other)


def restore(
    folder: Path,
    named: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
) -> Mapping[str, Any]:
    """Bring parameters, optimizer and averages to a state; return what else it holds, with "step".

    Raises:
        UserError: for a state that is damaged, or of another model.
    """
    try:
        tensors = load_file(folder / "tensors.safetensors")
        told = _read(folder / "state.json")
        unpack(tensors, named, optimizer, average)
    except (OSError, SafetensorError, KeyError, ValueError) as problem:
        raise UserError(
            f"the state in {folder} cannot be read: {problem}; delete the folder to start again"
        ) from problem
    return told


def packed(
    named: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, average: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return parameters, their averages and what AdamW keeps of them by name, as safetensors takes them."""
    tensors = {f"weight.{name}": parameter.detach() for name, parameter in named.items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    for name, parameter in named.items():
        tensors |= {f"{key}.{name}": value for key, value in optimizer.state.get(parameter, {}).items()}
    return {name: value.contiguous().cpu() for name, value in tensors.items()}


def unpack(
    tensors: Mapping[str, Tensor],
    named: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
) -> None:
    """Bring parameters, optimizer and averages to what `packed` returned.

    Raises:
        KeyError: when one is missing.
        ValueError: when one has another shape.
    """
    with torch.no_grad():
        for name, value in average.items():
            value.copy_(_fitting(tensors[f"average.{name}"], value))
        for name, parameter in named.items():
            parameter.copy_(_fitting(tensors[f"weight.{name}"], parameter))
            # There are none where every step so far was skipped, as float16 does at first.
            if any(f"{key}.{name}" in tensors for key in MOMENTS):
                optimizer.state[parameter] = {
                    key: tensors[f"{key}.{name}"].to("cpu" if key == "step" else parameter.device)
                    for key in MOMENTS
                }


def _latest(output: Path) -> Path | None:
    states = [path for path in (output / FOLDER).glob("step-*") if path.suffix != ".partial"]
    return max(states, default=None)


def _fitting(value: Tensor, parameter: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        raise ValueError(f"a weight of {tuple(value.shape)} is not one of {tuple(parameter.shape)}")
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise UserError(f"{path} is no JSON: {problem}; name another folder") from problem
    return told
