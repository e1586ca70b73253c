"""The pool: captioned videos, listed, cut into clips and packed."""

import dagster as dg

from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize
from onaspr_assets.params import param
from onaspr_assets.resources import WorkspaceResource
from onaspr_core import code_versions


@asset(
    group="pool",
    kinds={"duckdb"},
    deps=[param("pool")],
    # A row holds the key of its clip.
    code_version=f"{code_versions.MANIFEST}.{code_versions.CLIP}",
)
def pool_manifest(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """Every captioned video of every pool, with its rank and content hash.

    Changes when a pool's settings, its source or takedown list, or a source file change; where a pool refuses
    what a benchmark has, also when that changes.
    """
    from onaspr_core.pool.manifest import build_manifest

    return materialize(context, workspace, build_manifest)


@asset(group="pool", kinds={"mp4", "webdataset"}, deps=[pool_manifest], code_version=code_versions.CLIP)
def pool_clips(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """Clips of the pools' videos: square, resized, every n-th frame, packed into WebDataset shards.

    Changes when the manifest gains or loses a video, or a video's bytes or the way clips are cut change.
    Clips of withdrawn videos are deleted, with the inverted noise and the videos that were made of them.
    """
    from onaspr_core.pool.clips import make_clips

    return materialize(context, workspace, make_clips)
