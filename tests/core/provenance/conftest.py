"""The world, made once, and a copy of it for each test."""

import shutil
from pathlib import Path

import pytest

from onaspr_core.settings import load_settings
from onaspr_core.workspace import Workspace
from tests.core.provenance.world import ANSWERS, run_stages, write_world
from tests.core.rewriting.endpoint import KEY, FakeEndpoint, Reply


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("provenance")
    write_world(folder, tiny_model)
    endpoint = FakeEndpoint()
    endpoint.replies = [Reply(text) for answers in ANSWERS.values() for text in answers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", endpoint.url)
        patch.setenv("OPENAI_API_KEY", KEY)
        run_stages(Workspace(load_settings(folder / "settings.toml")))
    endpoint.close()
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Workspace:
    """A workspace whose experiment "tiny" has all its videos and a report."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Workspace(load_settings(tmp_path / "settings.toml"))
