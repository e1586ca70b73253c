"""The small project under Dagster, before and after everything was made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.automation.platform import Platform, Ran
from tests.small_project import models_stood_in_for, save_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text-to-video model and the three judges."""
    return save_models(tmp_path_factory.mktemp("platform-models"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Platform:
    """The project before anything was made."""
    folder = tmp_path_factory.mktemp("platform") / "project"
    folder.mkdir()
    (folder / "models").symlink_to(models)
    return Platform(folder)


@pytest.fixture(scope="session")
def first(template: Platform) -> list[Ran]:
    """What ran until the project had everything."""
    with models_stood_in_for():
        return template.settle()


@pytest.fixture
def settled(template: Platform, first: list[Ran], tmp_path: Path) -> Iterator[Platform]:
    """A copy of the project in which everything has been made once, with the same stand-ins for models."""
    with models_stood_in_for():
        yield template.copy_to(tmp_path / "project")
