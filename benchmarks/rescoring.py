"""Scoring again after another eta: which videos are encoded, and the time beside scoring from scratch.

A cut of the miniature with its own networks, in a temporary folder; a language model and an embedder stand
in, since neither concerns scoring. Everything is made and scored at one eta, then the variants with inverted
noise are made at another. What is timed is `score_experiment` alone, in this process: with the features of
the first eta there, and with no feature and no score there at all. Bar: exactly the changed videos are
encoded. Of equal videos there is one.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from _settings import ROOT, replaced
from _timing import print_table

sys.path.append(str(ROOT))

from onaspr_core.compute import Outcome
from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.features import reference_features
from onaspr_core.evaluation.scores import score_experiment
from onaspr_core.generation import generate_videos, video_items
from onaspr_core.inversion import invert_clips
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.stored_kinds import FEATURES, SCORE, VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.project import SETTINGS, make_world
from tests.small_project import models_stood_in_for

ETAS = (0.7, 0.8)
"""After that of the settings, 0.5."""


class Small:
    """The cut of the miniature: its settings file, opened anew for each use as another run would."""

    def __init__(self, folder: Path, prompts: int, real_videos: int) -> None:
        """Write the world and the settings."""
        make_world(folder / "world", real_videos)
        self.file = folder / "settings.toml"
        self.file.write_text(replaced(SETTINGS, "^prompt_limit = .*$", f"prompt_limit = {prompts}"))

    def open(self) -> tuple[Workspace, Experiment]:
        """Return the workspace and its experiment."""
        workspace = Workspace(load_settings(self.file))
        return workspace, workspace.settings.experiment("miniature")

    def turn(self, eta: float) -> None:
        """Set eta and make the videos that change with it."""
        text = re.sub("^eta = .*$", f"eta = {eta}", self.file.read_text(), flags=re.MULTILINE)
        self.file.write_text(text)
        self.generate()

    def prepare(self) -> None:
        """Make everything that scores are made from."""
        workspace, e = self.open()
        for make in (build_manifest, make_clips, embed_captions):
            make(workspace)
        per_experiment: tuple[Callable[[Workspace, Experiment], Outcome], ...] = (
            *(ingest_prompts, find_neighbours, invert_clips, rewrite_prompts),
            *(ingest_benchmark, reference_features),
        )
        for make_one in per_experiment:
            make_one(workspace, e)
        self.generate()

    def generate(self) -> None:
        """Make the videos of all variants that are not there."""
        workspace, e = self.open()
        for variant in VARIANTS:
            generate_videos(workspace, e, variant)

    def videos(self) -> set[str]:
        """Return the keys of all variants' videos."""
        workspace, e = self.open()
        return {item.key for variant in VARIANTS for item in video_items(workspace, e, variant)}

    def encoded(self) -> set[tuple[str, str]]:
        """Return video and network of every feature of a generated video."""
        store = self.open()[0].store
        records = (store.record(FEATURES, key) for key in store.keys(FEATURES))
        made = set(store.keys(VIDEO))
        return {(one["source"], one["fingerprint"]) for one in records if one["source"] in made}

    def score(self) -> float:
        """Score; return the seconds that it took."""
        workspace, e = self.open()
        started = time.perf_counter()
        if failures := score_experiment(workspace, e).failures:
            raise SystemExit(f"{failures[0].item}: {failures[0].reason}")
        return time.perf_counter() - started

    def forget(self) -> None:
        """Delete every feature and score."""
        store = self.open()[0].store
        for kind in (FEATURES, SCORE):
            for key in store.keys(kind):
                store.delete(kind, key)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--real-videos", type=int, default=40)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    rows = []
    with tempfile.TemporaryDirectory() as name, models_stood_in_for():
        small = Small(Path(name), chosen.prompts, chosen.real_videos)
        small.prepare()
        small.score()
        again = []
        for eta in ETAS:
            before, features = small.videos(), small.encoded()
            small.turn(eta)
            changed = small.videos() - before
            again.append(small.score())
            encoded = {video for video, _ in small.encoded() - features}
            counts = f"{len(encoded)} of {len(small.videos())}, {len(changed)} changed"
            bar = "kept" if encoded == changed else "BROKEN"
            rows.append([f"eta {eta}", f"{again[-1]:.2f}", "", counts, bar])
        small.forget()
        scratch = small.score()
    for row, seconds in zip(rows, again, strict=True):
        row[2] = f"{seconds / scratch:.2f}"
    rows.append(["from scratch", f"{scratch:.2f}", "1", "", ""])
    print_table([f"scores of {chosen.prompts} prompts", "seconds", "ratio", "videos encoded", "bar"], rows)
    print(f"median ratio {median(again) / scratch:.2f}")


if __name__ == "__main__":
    main()
