"""Tiny videos, and workspaces whose pools consist of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from onaspr_core.settings import ClipSettings, PoolSettings, Settings
from onaspr_core.video import encode_mp4
from onaspr_core.workspace import Workspace

TINY = ClipSettings(resolution=32, frame_stride=2, max_frames=3, crf=20)


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a video of one grey level per frame, different for each seed."""

    def write(name: str, *, seed: int = 0, frames: int = 7, height: int = 32, width: int = 48) -> Path:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = ((17 * seed + 20 * np.arange(frames)) % 256).astype(np.uint8)
        shape = (frames, height, width, 3)
        path.write_bytes(encode_mp4(np.broadcast_to(levels[:, None, None, None], shape), 8.0))
        return path

    return write


@pytest.fixture
def open_pools(tmp_path: Path) -> Callable[..., Workspace]:
    """Write `captions` (file to caption) as folder pools of these sizes, and open a new workspace on them."""

    def open_(captions: Mapping[str, str], clip: ClipSettings = TINY, **sizes: int | None) -> Workspace:
        table = tmp_path / "captions.csv"
        lines = [f'{file},"{caption}"' for file, caption in captions.items()]
        table.write_text("\n".join(["file,caption", *lines]), encoding="utf-8")
        (tmp_path / "videos").mkdir(exist_ok=True)
        pools = {
            name: PoolSettings(
                format="folder", path="captions.csv", videos="videos", size=size, seed=1, clip=clip
            )
            for name, size in (sizes or {"small": None}).items()
        }
        return Workspace(Settings(base=tmp_path, pools=pools, backbones={}, experiments={}))

    return open_
