"""The miniature's SCVideo: its image model, inflated, and taught to move on the miniature's pool.

Nothing here is special to the miniature but the numbers: the world is rendered, taken in as any pool is, and
`onaspr_core.training` trains as it would Stable Diffusion on WebVid.
"""

import shutil
from pathlib import Path

from onaspr_core.miniature.rendering import CLIP_FRAMES, CLIP_SIZE, FRAME_STRIDE
from onaspr_core.miniature.world import render_world
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.settings import BackboneSettings, ClipSettings, PoolSettings, Settings, StoreSettings
from onaspr_core.training import scvideo, state
from onaspr_core.workspace import Workspace

PLAN = scvideo.Plan(steps=2500, checkpoint_every=250, batch_size=16, learning_rate=1.5e-3, ema_decay=0.999)
CRF = 8
"""As in the settings of the miniature's pool."""


def train(image_model: Path, output: Path, world: Path, plan: scvideo.Plan, videos: int, device: str) -> None:
    """Train what is inserted into the image model's folder; a run in the output goes on.

    Args:
        image_model: A folder of Stable Diffusion's form.
        output: Folder of the trained backbone, its UNet in float32.
        world: Where the pool's videos and the store of its clips are, or will be.
        plan: How long and how fast.
        videos: How many the pool has.
        device: Of the computation.
    """
    render_world(world, pool_size=videos)
    clip = ClipSettings(resolution=CLIP_SIZE, frame_stride=FRAME_STRIDE, max_frames=CLIP_FRAMES, crf=CRF)
    pool = PoolSettings(format="webvid", path="pool.csv", videos="videos", size=videos, clip=clip)
    backbone = BackboneSettings(
        family="scvideo",
        path=str(image_model.resolve()),
        frames=CLIP_FRAMES,
        height=CLIP_SIZE,
        width=CLIP_SIZE,
        device=device,
    )
    settings = Settings(
        base=world.resolve(),
        store=StoreSettings(root="store"),
        pools={"miniature": pool},
        backbones={"inflated": backbone},
        experiments={},
    )
    workspace = Workspace(settings)
    build_manifest(workspace)
    make_clips(workspace)
    if state.steps_of(output) < plan.steps:
        # What is exported must be what the state is of.
        shutil.rmtree(output / "unet", ignore_errors=True)
    scvideo.train(workspace, "inflated", "miniature", output, plan, resume=True)
