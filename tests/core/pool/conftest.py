"""Tiny videos, and workspaces whose pools consist of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.settings import ClipSettings, PoolSettings, Settings
from onaspr_core.workspace import Workspace

TINY = ClipSettings(resolution=32, frame_stride=2, max_frames=3, crf=20)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace without pools."""
    return Workspace(Settings(base=tmp_path, pools={}, backbones={}, experiments={}))


@pytest.fixture
def open_pools(tmp_path: Path) -> Callable[..., Workspace]:
    """Write `captions` (file to caption) as folder pools of these sizes, and open a new workspace on them.

    `told` are further settings of the pools.
    """

    def open_(
        captions: Mapping[str, str],
        clip: ClipSettings = TINY,
        told: Mapping[str, Any] | None = None,
        **sizes: int | None,
    ) -> Workspace:
        table = tmp_path / "captions.csv"
        lines = [f'{file},"{caption}"' for file, caption in captions.items()]
        table.write_text("\n".join(["file,caption", *lines]), encoding="utf-8")
        (tmp_path / "videos").mkdir(exist_ok=True)
        pools = {
            name: PoolSettings(
                format="folder",
                path="captions.csv",
                videos="videos",
                size=size,
                seed=1,
                clip=clip,
                **(told or {}),
            )
            for name, size in (sizes or {"small": None}).items()
        }
        return Workspace(Settings(base=tmp_path, pools=pools, backbones={}, experiments={}))

    return open_
