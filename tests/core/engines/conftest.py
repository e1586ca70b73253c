"""A Ray cluster of two machines on this one, and workspaces whose items are made there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from onaspr_core.settings import ComputeSettings, Settings
from onaspr_core.workspace import Workspace

Open = Callable[..., Workspace]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two machines of one processor each; a test that adds or removes one leaves as many."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    ray.shutdown()  # type: ignore[no-untyped-call]
    found.shutdown()  # type: ignore[no-untyped-call]
    patch.undo()


@pytest.fixture
def open_on(cluster: Cluster, tmp_path: Path) -> Iterator[Open]:
    """Opens a workspace of this test whose items are made on the cluster."""
    opened: list[Workspace] = []

    def open_(**compute: Any) -> Workspace:
        told = {"engine": "ray", "address": cluster.address, "wait_seconds": 240.0, **compute}
        settings = Settings(
            base=tmp_path, compute=ComputeSettings(**told), pools={}, backbones={}, experiments={}
        )
        opened.append(Workspace(settings))
        return opened[-1]

    yield open_
    for workspace in opened:
        workspace.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "notes"
    found.mkdir()
    return found


def begun(folder: Path) -> list[str]:
    """The names that a worker began to write, in order."""
    return (folder / "begun").read_text().splitlines()
