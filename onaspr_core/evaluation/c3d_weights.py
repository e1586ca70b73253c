"""`python -m onaspr_core.evaluation.c3d_weights WEIGHTS.npz MEAN.npz OUT.safetensors`: C3D's weights, once.

WEIGHTS.npz is `conv3d_deepnetA_ucf.npz` and MEAN.npz is `mean2.npz`, as TGAN2 publishes them; neither holds
pickles, and none would be read. OUT.safetensors holds, in float32, NAME.weight and NAME.bias of conv1a,
conv2a, conv3a, conv3b, conv4a, conv4b, conv5a, conv5b (out, in, 3, 3, 3) and of fc6, fc7, fc8 (out, in), and
`mean` (3, 16, 112, 112), BGR, 0 … 255. Imports no torch.
"""

import argparse
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from onaspr_core.errors import PlainError, UserError
from onaspr_core.whole_files import write_whole

CONVOLUTIONS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
LINEAR = ("fc6", "fc7", "fc8")
FRAMES, SIDE = 16, 112
"""What C3D reads."""

MEAN_SHAPE = (3, FRAMES, 128, 171)
CORNER = 8
"""Where TGAN2 cuts the mean clip, in height and in width."""


def convert(weights: Path, mean: Path, out: Path) -> None:
    """Write `out` from the two files that TGAN2 publishes, whole or not at all.

    Raises:
        UserError: when a file cannot be read, lacks an array, or has a mean of another shape.
    """
    arrays = _read(weights, [f"{name}/{kind}" for name in (*CONVOLUTIONS, *LINEAR) for kind in "Wb"])
    (whole,) = _read(mean, ["mean"]).values()
    if whole.size != np.prod(MEAN_SHAPE):
        raise UserError(f"{mean}: the mean has shape {whole.shape}, not {MEAN_SHAPE}; give mean2.npz")
    cut = slice(CORNER, CORNER + SIDE)
    tensors = {"mean": whole.reshape(MEAN_SHAPE)[:, :, cut, cut]}
    for name, array in arrays.items():
        layer, _, kind = name.partition("/")
        tensors[f"{layer}.{'weight' if kind == 'W' else 'bias'}"] = array
    data = save({name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()})
    try:
        write_whole(out, data)
    except OSError as problem:
        raise UserError(f"{out} cannot be written: {problem.strerror or problem}") from problem


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; return 1, with a sentence, where it fails."""
    parser = argparse.ArgumentParser(prog="python -m onaspr_core.evaluation.c3d_weights", description=__doc__)
    for name in ("weights", "mean", "out"):
        parser.add_argument(name, type=Path)
    chosen = parser.parse_args(arguments)
    try:
        convert(chosen.weights, chosen.mean, chosen.out)
    except PlainError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(chosen.out)
    return 0


def _read(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in names}
    except KeyError as problem:
        raise UserError(f"{path} lacks an array: {problem.args[0]}") from problem
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as problem:
        raise UserError(f"{path} cannot be read as npz: {problem}; download it again") from problem


if __name__ == "__main__":
    sys.exit(main())
