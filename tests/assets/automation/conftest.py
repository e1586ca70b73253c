"""The small project with its models: real ones of random weights, and stand-ins for the language models."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.pool import clips
from onaspr_core.pool.cut import CutClip, CutJob, cut_clip
from onaspr_core.retrieval.embedder import SentenceEmbedder
from onaspr_core.rewriting import client
from onaspr_core.rewriting.client import Answer
from tests.assets.automation.platform import Platform, Ran
from tests.core.rewriting.bench import BagOfWords
from tests.tiny_models import save_tiny_judges, save_tiny_text_to_video


class Enricher:
    """A language model that adds the last word of the first example to the sentence it is to rewrite."""

    def answer(self, messages: Sequence[dict[str, str]], **_: object) -> Answer:
        asked = messages[-1]["content"]
        sentence = asked.split("rewrite the sentence ")[1].split(" without changing")[0]
        example = asked.split(": ", 1)[1].split(",")[0]
        return Answer(f"{sentence.capitalize()} near {example.split()[-1]}.")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text-to-video model and the three judges."""
    root = tmp_path_factory.mktemp("platform-models")
    save_tiny_text_to_video(root / "text-to-video")
    return save_tiny_judges(root)


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[None]:
    """A language model and an embedder without weights, and clips cut in this process."""

    @contextmanager
    def enricher(_: object) -> Iterator[Enricher]:
        yield Enricher()

    def cut_here(jobs: Sequence[CutJob], _: int) -> Iterator[CutClip]:
        return map(cut_clip, jobs)

    def encode(_: Any, texts: Sequence[str]) -> Any:
        return BagOfWords().encode(texts).astype("float32")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "open_language_model", enricher)
        patch.setattr(clips, "cut_all", cut_here)
        patch.setattr(SentenceEmbedder, "encode", encode)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, models: Path, stand_ins: None) -> Platform:
    """The project before anything was made."""
    folder = tmp_path_factory.mktemp("platform") / "project"
    folder.mkdir()
    (folder / "models").symlink_to(models)
    return Platform(folder)


@pytest.fixture(scope="module")
def first(template: Platform) -> list[Ran]:
    """What ran until the project had everything."""
    return template.settle()


@pytest.fixture
def settled(template: Platform, first: list[Ran], tmp_path: Path) -> Platform:
    """A copy of the project in which everything has been made once."""
    return template.copy_to(tmp_path / "project")
