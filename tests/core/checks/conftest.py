"""The small project after every stage ran on it once, by the core alone; each test has a copy to break."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.features import reference_features
from onaspr_core.evaluation.scores import score_experiment
from onaspr_core.generation import generate_videos
from onaspr_core.inversion import invert_clips
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.small_project import models_stood_in_for, save_models, write_world


@dataclass(frozen=True)
class Project:
    """A folder with the small project."""

    folder: Path

    def open(self, **checks: Any) -> Workspace:
        """Open the workspace anew, with some settings of the checks."""
        settings = load_settings(self.folder / "settings.toml")
        changed = settings.checks.model_copy(update=checks)
        return Workspace(settings.model_copy(update={"checks": changed}))

    @property
    def e(self) -> Experiment:
        """Its experiment."""
        return load_settings(self.folder / "settings.toml").experiment("one")

    def payload(self, kind: str, key: str) -> Path:
        """The file that holds an item of the store."""
        return Path(self.open().store.url(kind, key))

    def damage(self, kind: str, key: str) -> None:
        """Turn one byte in the middle of an item's payload."""
        path = self.payload(kind, key)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)

    def remove(self, kind: str, key: str) -> None:
        """Delete an item of the store."""
        path = self.payload(kind, key)
        path.with_name(f"{key}.record.json").unlink()
        path.unlink()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked")
    save_models(folder / "models")
    write_world(folder)
    project = Project(folder)
    workspace, e = project.open(), project.e
    with models_stood_in_for():
        build_manifest(workspace)
        make_clips(workspace)
        embed_captions(workspace)
        ingest_prompts(workspace, e)
        find_neighbours(workspace, e)
        invert_clips(workspace, e)
        rewrite_prompts(workspace, e)
        for variant in VARIANTS:
            generate_videos(workspace, e, variant)
        ingest_benchmark(workspace, e)
        reference_features(workspace, e)
        score_experiment(workspace, e)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Project:
    """A copy of the project in which everything has been made."""
    return Project(shutil.copytree(made, tmp_path / "project"))
