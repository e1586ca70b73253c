"""What every asset of this project has in common."""

from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg

from onaspr_assets.partitions import experiments

OWNERS = ["team:onaspr"]
GPU_POOL = "gpu"
STUDIES = "studies"
"""The group of the assets that people alone ask for, and that nothing waits for."""


def asset(
    *,
    group: str,
    kinds: set[str],
    deps: Iterable[Any],
    by_experiment: bool = False,
    gpu: bool = False,
    code_version: int | str | None = None,
    **overrides: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Declare an asset as this project does: grouped, owned, of some kinds, perhaps one per experiment.

    Args:
        group: The room of the graph it stands in.
        kinds: Technologies shown on its node; Dagster shows at most three.
        deps: Assets and settings whose change may change it.
        by_experiment: Whether it exists once per experiment.
        gpu: Whether its step waits for a slot of the `gpu` pool.
        code_version: That of the code whose items it makes (`onaspr_core.code_versions`).
        overrides: Anything else that `dagster.asset` takes.
    """
    decorate: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        group_name=group,
        kinds=kinds,
        owners=OWNERS,
        deps=list(deps),
        partitions_def=experiments if by_experiment else None,
        pool=GPU_POOL if gpu else None,
        code_version=None if code_version is None else str(code_version),
        **overrides,
    )
    return decorate
