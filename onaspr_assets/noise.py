"""Inverted noise: the neighbours' clips, walked back through the diffusion model."""

import dagster as dg

from onaspr_assets.house import asset
from onaspr_assets.metadata import materialize_experiment
from onaspr_assets.params import param
from onaspr_assets.resources import WorkspaceResource
from onaspr_assets.retrieval import neighbours
from onaspr_core import code_versions


@asset(
    group="noise",
    kinds={"pytorch"},
    deps=[neighbours, param("inversion"), param("backbone")],
    by_experiment=True,
    gpu=True,
    code_version=code_versions.INVERTED_LATENT,
)
def inverted_latents(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult:
    """The noise of each neighbour's clip: DDIM inversion with the empty prompt (Eq 2).

    Changes when a prompt gets another neighbour, or the backbone, the step count or the inversion changes;
    with `inversion.scope = "pool"` also when the pool's settings or its list change, which that setting's
    version then follows. It does not depend on eta.
    """
    from onaspr_core.inversion import invert_clips

    return materialize_experiment(context, workspace, invert_clips)
