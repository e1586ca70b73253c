"""Small networks of random weights in the form that the papers' own metrics publish theirs."""

import io
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

CONVOLUTIONS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")


class _Layers(torch.nn.Module):
    """What Inception's `layers` is: images (n, 3, 299, 299) to features (n, 2048, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 7, stride=23)
        self.linear = torch.nn.Linear(4, 2048)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.convolution(x)).mean((2, 3))
        features: torch.Tensor = self.linear(hidden)
        return features[:, :, None, None]


class TinyInception(torch.nn.Module):
    """Called as `inception-2015-12-05.pt` is."""

    def __init__(self, classes: int = 1008) -> None:
        super().__init__()
        self.layers = _Layers()
        self.output = torch.nn.Linear(2048, classes)

    def forward(
        self,
        img: torch.Tensor,
        return_features: bool = False,
        use_fp16: bool = False,
        no_output_bias: bool = False,
    ) -> torch.Tensor:
        # A resizing that shows, even where there is nothing to resize.
        x = torch.nn.functional.interpolate(img.float(), [150, 150], mode="bilinear", align_corners=False)
        x = torch.nn.functional.interpolate(x, [299, 299], mode="bilinear", align_corners=False)
        features: torch.Tensor = self.layers((x - 128) / 128).reshape(-1, 2048)
        if return_features:
            return features
        logits = self.output(features)
        if no_output_bias:
            logits = logits - self.output.bias
        return torch.softmax(logits, 1)


class TinyI3D(torch.nn.Module):
    """Called as `i3d_torchscript.pt` is; reads ten frames or more."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv3d(3, 4, (10, 16, 16), stride=(1, 16, 16))
        self.linear = torch.nn.Linear(4, 400)

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        if rescale:
            x = x / 127.5 - 1
        if resize:
            x = torch.nn.functional.interpolate(
                x, [x.shape[2], 32, 32], mode="trilinear", align_corners=False
            )
        logits = self.linear(torch.relu(self.convolution(x)).mean((2, 3, 4)))
        return logits if return_features else torch.softmax(logits, 1)


def save_script(module: torch.nn.Module, path: Path, seed: int = 0) -> Path:
    """Save a module as TorchScript, with weights from a seed."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    path.write_bytes(buffer.getvalue())
    return path


def c3d_arrays(width: int = 4, hidden: int = 8, classes: int = 101) -> dict[str, np.ndarray]:
    """C3D's weights as Chainer names them, with `width` channels everywhere."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for i, name in enumerate(CONVOLUTIONS):
        shapes[name] = (width, width if i else 3, 3, 3, 3)
    shapes |= {"fc6": (hidden, width * 16), "fc7": (hidden, hidden), "fc8": (classes, hidden)}
    arrays = {}
    for name, shape in shapes.items():
        scale = 1.5 / np.sqrt(np.prod(shape[1:]))
        arrays[f"{name}/W"] = random.normal(0, scale, shape).astype(np.float32)
        arrays[f"{name}/b"] = random.normal(0, 0.1, shape[0]).astype(np.float32)
    return arrays


def save_c3d(path: Path, classes: int = 101) -> Path:
    """Save C3D as ONASPR reads it."""
    tensors = {
        name.replace("/W", ".weight").replace("/b", ".bias"): array
        for name, array in c3d_arrays(classes=classes).items()
    }
    mean = np.random.default_rng(1).uniform(80, 120, (3, 16, 112, 112)).astype(np.float32)
    save_file({**tensors, "mean": mean}, path)
    return path
