import os
import signal
from collections.abc import Iterator
from pathlib import Path

# The models of tests are so small that a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage

from tests.object_store import ObjectStore, serving_s3

SETTINGS = """
[store]
root = "store"
[pools.p]
format = "webvid"
path = "pool.csv"
videos = "."
[backbones.b]
family = "modelscope"
path = "weights"
[experiments.one]
pool = "p"
backbone = "b"
prompts = "prompts.txt"
eta = 0.5
gamma = 0.2
evaluation.features = { label = "x", image_classifier = "a", image_text = "b", video_classifier = "c" }
[experiments.two]
pool = "p"
backbone = "b"
prompts = "prompts.txt"
eta = 1.0
gamma = 0.2
evaluation.features = { label = "x", image_classifier = "a", image_text = "b", video_classifier = "c" }
"""


OF_WHOLE_PROCESSES = ("test_served.py", "test_killed_command.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: the tests of whole processes, those beside this file and two more."""
    root = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent != root and item.path.name not in OF_WHOLE_PROCESSES)


def pytest_sessionstart() -> None:
    """Let what a test starts end when told to, also in a suite that was started in the background.

    There SIGINT does nothing, and Dagster has SIGTERM do what SIGINT does.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """A settings file with two experiments, and the files it names."""
    (tmp_path / "pool.csv").touch()
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    return file


@pytest.fixture(scope="module", autouse=True)
def no_instance_of_another_module() -> Iterator[None]:
    """Dagster keeps the storage of the instance entered last; that instance may be gone by now."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture(autouse=True)
def no_instance_of_another_test(no_instance_of_another_module: None) -> Iterator[None]:
    """The same for each test; that of the module comes before fixtures that a whole module shares."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A server of S3, one for all tests."""
    with serving_s3() as store:
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore) -> Iterator[str]:
    """The URL of an empty bucket, which this process finds while the test runs."""
    with object_store.reached():
        yield object_store.new_bucket()
