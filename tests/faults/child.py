"""What a killed process does: every stage of a small project, with a log of what it began and stored.

Processes are forked from a server that has imported what they need, so that many can be started and killed.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from onaspr_core.artifacts import ArtifactStore
from onaspr_core.compute import Failure, Outcome
from onaspr_core.engines import local
from onaspr_core.errors import PlainError
from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.features import reference_features
from onaspr_core.evaluation.scores import score_experiment
from onaspr_core.generation import generate_videos
from onaspr_core.inversion import invert_clips
from onaspr_core.pool import clips
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.pool.shards import Clip, Place, write_shard
from onaspr_core.prompts import ingest_prompts
from onaspr_core.repairs import one_at_a_time, run_stage
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.small_project import models_stood_in_for

LOG = "begun.log"
ERROR = "error.txt"
HOLD = "hold"
HELD = "held"
PRELOADED = [
    "tests.faults.child",
    "torch",
    "onaspr_core.backbones.unet3d",
    "onaspr_core.evaluation.transformers_models",
    "onaspr_core.previews.noise_figure",
    "transformers.models.clip.modeling_clip",
    "diffusers.models.unets.unet_3d_condition",
    "diffusers.models.autoencoders.autoencoder_kl",
]


def start(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """Start a process that can be killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


Stage = Callable[[Workspace, Experiment], Outcome]
STAGES: tuple[tuple[str, Stage], ...] = (
    ("pool_manifest", lambda w, _: build_manifest(w)),
    ("pool_clips", lambda w, _: make_clips(w)),
    ("caption_embeddings", lambda w, _: _embed(w)),
    ("prompts", ingest_prompts),
    ("neighbours", find_neighbours),
    ("inverted_latents", invert_clips),
    ("rewritten_prompts", rewrite_prompts),
    *((f"{variant}_videos", partial(generate_videos, variant=variant)) for variant in VARIANTS),
    ("benchmark_videos", ingest_benchmark),
    ("reference_features", reference_features),
    ("scores", score_experiment),
    ("gallery", write_gallery),
)
"""What the assets do, in the order of the graph."""


def _of_the_experiment(stage: Stage, workspace: Workspace) -> Outcome:
    return stage(workspace, workspace.settings.experiment("one"))


def _embed(workspace: Workspace) -> Outcome:
    # LanceDB starts threads when it is imported, which a forked process would not have.
    from onaspr_core.retrieval.index import embed_captions

    return embed_captions(workspace)


def materialize(folder: Path) -> None:
    """Bring every stage up; end with 1, and the error in a file, where one fails."""
    with models_stood_in_for(), logged(folder / LOG):
        workspace = Workspace(load_settings(folder / "settings.toml"))
        for name, stage in STAGES:
            try:
                with one_at_a_time(workspace, name):
                    outcome = run_stage(workspace, partial(_of_the_experiment, stage))
            except PlainError as problem:
                (folder / ERROR).write_text(str(problem))
                raise SystemExit(1) from None
            assert not outcome.failures, (name, outcome.failures)


@contextmanager
def logged(log: Path) -> Iterator[None]:
    """Log how many items each batch has before it is made, that it was made, and what was stored.

    While a file `hold` lies beside the log, whoever has stored a video logs that it is held, and waits.
    """

    def note(*words: object) -> None:
        with log.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")

    def wait_while_held() -> None:
        if (hold := log.with_name(HOLD)).exists():
            note(HELD, os.getpid())
            while hold.exists():
                time.sleep(0.05)

    batches, write = local.in_batches, ArtifactStore.write

    def noting_batches(making: Any, items: Any, make: Any, sizes: Any) -> Any:
        def noting(batch: Sequence[Any]) -> Iterable[Failure]:
            note("begin", os.getpid(), len(batch))
            failures = list(make(batch))
            note("end", os.getpid(), len(batch))
            return failures

        return batches(making, items, noting, sizes)

    def noting_write(store: ArtifactStore, kind: str, key: str, *rest: Any) -> None:
        write(store, kind, key, *rest)
        note("stored", os.getpid(), kind, key)
        if kind == VIDEO:
            wait_while_held()

    def noting_write_shard(root: str, shard: Sequence[Clip]) -> list[Place]:
        places = write_shard(root, shard)
        for clip in shard:
            note("stored", os.getpid(), "clip", clip.key)
        return places

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "in_batches", noting_batches)
        patch.setattr(ArtifactStore, "write", noting_write)
        patch.setattr(clips, "write_shard", noting_write_shard)
        yield
