"""A running endpoint, and workspaces without a pool."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval import embedder as embedder_room
from onaspr_core.retrieval import neighbours as neighbours_room
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.settings import Experiment, Settings
from onaspr_core.workspace import Workspace
from tests.core.rewriting.bench import BagOfWords, Bench
from tests.core.rewriting.endpoint import KEY, FakeEndpoint


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEndpoint]:
    """A running endpoint that the environment names."""
    fake = FakeEndpoint()
    monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.01)
    yield fake
    fake.close()


@pytest.fixture
def open_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """Open a workspace with these prompts, by id, each with its captions, best first."""

    def open_(prompts: dict[str, str], captions: dict[str, list[str]]) -> Bench:
        lines = ["id,prompt", *(f'{id_},"{text}"' for id_, text in prompts.items())]
        (tmp_path / "prompts.csv").write_text("\n".join(lines), encoding="utf-8")
        workspace = Workspace(Settings(base=tmp_path, pools={}, backbones={}, experiments={}))
        bench = Bench(workspace, captions)
        ingest_prompts(workspace, bench.experiment())

        def neighbours_of(_: Workspace, experiment: Experiment) -> dict[str, tuple[Neighbour, ...]]:
            return {
                id_: tuple(Neighbour(text, text, text, 0.9, rank) for rank, text in enumerate(texts))
                for id_, texts in bench.captions.items()
            }

        monkeypatch.setattr(neighbours_room, "neighbours_of", neighbours_of)
        monkeypatch.setattr(embedder_room, "embedder", lambda _: BagOfWords())
        return bench

    return open_
