"""A small project before anything was made, and what it holds after an undisturbed run."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.child import LOG, materialize, start
from tests.faults.kept import kept
from tests.small_project import SETTINGS, save_models, write_world

SECTION = "[experiments.one.evaluation]\n"
ONE_AT_A_TIME = SETTINGS.replace(SECTION, f"{SECTION}batch_size = 1\n")


@dataclass(frozen=True)
class Undisturbed:
    """What was kept, how many items were begun, and how long it took."""

    kept: dict[str, object]
    begun: int
    seconds: float


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a project, by name, in which nothing has been made. Its items are made one at a time.

    Networks round otherwise in batches of another size.
    """
    root = tmp_path_factory.mktemp("faults")
    models = save_models(tmp_path_factory.mktemp("faults-models"))
    template = root / "template"
    template.mkdir()
    (template / "models").symlink_to(models)
    write_world(template)
    text = ONE_AT_A_TIME.replace("MODELS", str(models))
    (template / "settings.toml").write_text(text)

    def make(name: str) -> Path:
        shutil.rmtree(root / name, ignore_errors=True)
        return Path(shutil.copytree(template, root / name, symlinks=True))

    return make


@pytest.fixture(scope="session")
def undisturbed(new_project: Callable[[str], Path]) -> Undisturbed:
    """One run without any fault, timed after another one that warmed up what processes are forked from."""
    for name in ("warm", "undisturbed"):
        folder = new_project(name)
        started = time.monotonic()
        process = start(materialize, folder)
        process.join()
        seconds = time.monotonic() - started
        assert process.exitcode == 0
    begun = [line.split() for line in (folder / LOG).read_text().splitlines() if line.startswith("begin")]
    return Undisturbed(kept(folder), sum(int(count) for _, _, count in begun), seconds)
