"""The small project with studies in its settings: pools made once, and every study made once."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from onaspr_core.compute import Outcome
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
from onaspr_core.rewriting import client
from onaspr_core.rewriting.client import Answer
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.settings import RewriterSettings, load_settings
from onaspr_core.studies.plans import SWEEPS
from onaspr_core.studies.stages import frames_side_by_side, stage_times, sweep, variant_table
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.small_project import SETTINGS, models_stood_in_for, save_models, write_world
from tests.tiny_unets import save_tiny_stable_diffusion

STUDIES = """
[backbones.of-images]
family = "stable-diffusion-1.5"
path = "MODELS/text-to-image"
frames = 1
height = 16
width = 16
device = "cpu"
[studies]
experiments = ["one", "images"]
eta = [0.0, 0.5, inf]
gamma = [0.0, 0.5]
references = [0, 2]
pool_sizes = [2, 6, 60]
[studies.rewriters]
"ChatGPT" = { model = "stand-in" }
"90 % | <b>_$" = { model = "other" }
"""
IMAGES = (
    SETTINGS[SETTINGS.index("[experiments.one]") :]
    .replace("experiments.one", "experiments.images")
    .replace('"tiny"\nprompts', '"of-images"\nprompts')
    .replace('video_classifier = "MODELS/video-classifier"\n', "")
)


class Adder:
    """A language model that adds the last word of the first example, if any, and its own name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answer(self, messages: Sequence[dict[str, str]], **told: object) -> Answer:
        examples, _, rest = messages[-1]["content"].replace('"', "").partition("rewrite the sentence ")
        sentence = rest.split(" without changing")[0]
        words = examples.partition(": ")[2].split(",")[0].split()[-1:]
        return Answer(" ".join([sentence.capitalize(), "near", *words, self.name]) + ".")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of videos and of images, and the judges."""
    root = save_models(tmp_path_factory.mktemp("study-models"))
    save_tiny_stable_diffusion(root / "text-to-image")
    return root


@contextmanager
def stood_in() -> Iterator[None]:
    """Models without weights for captions and rewriting; what is made once for all tests opens it itself."""

    @contextmanager
    def adder(settings: RewriterSettings) -> Iterator[Adder]:
        yield Adder(settings.model)

    with models_stood_in_for(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "open_language_model", adder)
        yield


@pytest.fixture(autouse=True)
def stand_ins() -> Iterator[None]:
    with stood_in():
        yield


@pytest.fixture(scope="session")
def pooled(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A project whose pool, captions included, has been made, and nothing else."""
    folder = tmp_path_factory.mktemp("study-pool")
    (folder / "models").symlink_to(models)
    write_world(folder)
    more = (STUDIES + IMAGES).replace("MODELS", str(folder / "models"))
    file = folder / "settings.toml"
    file.write_text(file.read_text() + more)
    with stood_in():
        for stage in (build_manifest, make_clips, embed_captions):
            assert not stage(open_in(folder)).failures
    return folder


@pytest.fixture(scope="session")
def experimented(tmp_path_factory: pytest.TempPathFactory, pooled: Path) -> Path:
    """A copy in which the experiment `one` has been made and scored."""
    folder = copied(pooled, tmp_path_factory.mktemp("study-experiment"))
    workspace = open_in(folder)
    e = workspace.settings.experiment("one")
    stages = [ingest_prompts, find_neighbours, invert_clips, rewrite_prompts]
    stages += [partial(generate_videos, variant=variant) for variant in VARIANTS]
    with stood_in():
        for stage in (*stages, ingest_benchmark, reference_features, score_experiment):
            assert not stage(workspace, e).failures
    return folder


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory, experimented: Path) -> tuple[Path, dict[str, Outcome]]:
    """A copy in which every study has been made, and the outcomes by study."""
    folder = copied(experimented, tmp_path_factory.mktemp("studies"))
    with stood_in():
        return folder, {name: make(open_in(folder)) for name, make in EVERY.items()}


@pytest.fixture
def project(tmp_path: Path, pooled: Path) -> Path:
    """A copy of its own for a test, with a pool and nothing else."""
    return copied(pooled, tmp_path / "project")


@pytest.fixture
def made(tmp_path: Path, experimented: Path) -> Path:
    """A copy of its own for a test, with the experiment `one`."""
    return copied(experimented, tmp_path / "project")


def swept(name: str) -> Callable[[Workspace], Outcome]:
    """A sweep of the experiment `one`."""
    return lambda workspace: sweep(workspace, workspace.settings.experiment("one"), name)


EVERY: dict[str, Callable[[Workspace], Outcome]] = {
    **{name: swept(name) for name in SWEEPS},
    "table_1": partial(variant_table, name="table_1"),
    "table_3": partial(variant_table, name="table_3"),
    "figure_3": frames_side_by_side,
    "table_4": lambda workspace: stage_times(workspace, workspace.settings.experiment("one")),
}


def open_in(folder: Path) -> Workspace:
    """Open a project anew, as another run would."""
    return Workspace(load_settings(folder / "settings.toml"))


def edit(folder: Path, old: str, new: str) -> None:
    """Replace a text of the settings that stands there once."""
    file = folder / "settings.toml"
    text = file.read_text()
    assert text.count(old) == 1, (text.count(old), old)
    file.write_text(text.replace(old, new))


def copied(folder: Path, to: Path) -> Path:
    """Copy a project; its models are linked."""
    shutil.copytree(folder, to, symlinks=True, dirs_exist_ok=True)
    return to
