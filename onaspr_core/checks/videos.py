"""The check of generated videos, the same for all variants."""

from onaspr_core.checks.finding import Finding, every
from onaspr_core.errors import UserError
from onaspr_core.generation import VideoItem, read_video, video_items
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.workspace import Workspace


def every_prompt_has_a_video(workspace: Workspace, e: Experiment, variant: str) -> Finding:
    """Decode every prompt's video: undamaged bytes, and as many frames, as high and wide, as the backbone's.

    A video of a single frame is an image, and called so.

    Raises:
        UserError: when prompts, neighbours or rewrites that the variant needs have not been materialized.
    """
    backbone = workspace.settings.backbones[e.backbone]
    shape = (backbone.frames, backbone.height, backbone.width, 3)
    items = video_items(workspace, e, variant)
    present = workspace.store.existing(VIDEO, [item.key for item in items])
    problems = []
    noun = backbone.noun
    for item in items:
        if item.key not in present:
            problems.append((item.prompt.id, _why_there_is_none(workspace, item, variant, noun)))
            continue
        try:
            found = read_video(workspace, item.key).shape
        except UserError as problem:
            problems.append((item.prompt.id, str(problem)))
            continue
        if found != shape:
            problems.append((item.prompt.id, _told(found)))
    return every(
        f"prompts have {_told(shape) if backbone.makes_images else f'a video of {_told(shape)}'}",
        len(items),
        problems,
        f"materialize {variant}_videos",
    )


def _told(shape: tuple[int, ...]) -> str:
    """What frames (F, H, W, 3) are, such as "8 frames of 64 × 64"; a single one is an image."""
    frames, height, width, _ = shape
    return f"{'an image' if frames == 1 else f'{frames} frames'} of {height} × {width}"


def _why_there_is_none(workspace: Workspace, item: VideoItem, variant: str, noun: str) -> str:
    """Say why an item is missing, as far as the stores tell; the stage's own words are in its failures."""
    if any(not workspace.store.has(INVERTED_LATENT, key) for key in item.inverted_keys):
        return f"no {noun}, and no inverted noise of its neighbour: materialize inverted_latents first"
    return (
        f"no {noun}: {variant}_videos says under `failures` why; where it is values that are not finite, "
        "use dtype float32 or bfloat16"
    )
