"""A score table worked by hand, and a workspace with videos that were never generated."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core import generation
from onaspr_core.evaluation.score_table import Score, ScoreTable, keep_scores
from onaspr_core.media.images import encode_png
from onaspr_core.media.video import Frames, encode_mp4
from onaspr_core.prompts import Prompt, ingest_prompts, load_prompts
from onaspr_core.reports import gallery
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.rewriting.stored import Rewrite
from onaspr_core.settings import Experiment, load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace

BASE = Score(
    variant="baseline",
    metric="fid",
    value=12.3456,
    spread=None,
    n=200,
    n_real=120,
    missing=0,
    rows=1000,
    rows_real=600,
    splits=None,
    label="miniature",
    extractor="miniature ResNetForImageClassification",
    fingerprint="abcdef0123456789",
    difference=None,
    low=None,
    high=None,
    p_value=None,
    n_paired=0,
    interval="",
    key="k0",
)


@pytest.fixture
def table() -> ScoreTable:
    """Two variants under a set metric, with an unsupported gain, and with a supported one of fewer videos."""
    clip = replace(
        BASE,
        metric="clipsim",
        value=0.28125,
        n_real=0,
        rows=200,
        rows_real=0,
        extractor="miniature CLIPModel",
        fingerprint="1234567890",
    )
    right = replace(clip, metric="right:colour", value=0.965, extractor="miniature VideoMAE")
    other: dict[str, Any] = {"variant": "ona", "n_paired": 199}
    paired = {**other, "interval": "paired bootstrap over prompts, 2000 resamples"}
    wins: dict[str, Any] = {"wins": 0.5475, "wins_low": 0.478, "wins_high": 0.6154, "prompts_needed": 1234}
    unpaired = {**other, "interval": "set bootstrap"}
    return ScoreTable(
        "miniature",
        200,
        (
            BASE,
            replace(BASE, value=10.25, difference=-2.0956, low=-3.0, high=-1.25, **unpaired),
            clip,
            replace(clip, value=0.2843, difference=0.00302, low=-0.0021, high=0.0083, **paired, **wins),
            right,
            replace(
                right,
                value=0.975,
                n=199,
                rows=199,
                missing=1,
                difference=0.01,
                low=0.005,
                high=0.02,
                p_value=0.001,
                **paired,
            ),
        ),
        ("1 of 400 videos is missing.",),
    )


SETTINGS = """
[pools.p]
format = "webvid"
path = "pool.csv"
videos = "."
[backbones.b]
family = "modelscope"
path = "weights"
frames = 4
height = 16
width = 16
[experiments.e]
pool = "p"
backbone = "b"
prompts = "prompts.jsonl"
eta = 0.5
gamma = 0.2
[experiments.e.evaluation.features]
label = "miniature"
image_classifier = "a"
image_text = "b"
video_classifier = "c"
"""
HOSTILE = (
    '<script>alert(1)</script> & "a ball" <img src="http://example.com/x.png"> ![](http://example.com/x.png)'
)


@dataclass(frozen=True)
class Made:
    """What a report needs to know of a video."""

    prompt: Prompt
    key: str
    eta: float = 0.5


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: ScoreTable) -> Workspace:
    """A workspace whose experiment has two prompts (one hostile), videos of both, and kept scores."""
    return report_on(tmp_path, monkeypatch, table, SETTINGS)


@pytest.fixture
def pictured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: ScoreTable) -> Workspace:
    """As `reported`, of images; the neighbours' clips have four frames all the same."""
    settings = SETTINGS.replace("modelscope", "sdxl").replace("frames = 4", "frames = 1")
    settings = settings.replace('video_classifier = "c"\n', "")
    return report_on(tmp_path, monkeypatch, table, settings)


def report_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: ScoreTable, settings: str) -> Workspace:
    """Write what the reports read, and stand in for the stages between."""
    (tmp_path / "pool.csv").touch()
    rows = [{"id": "p0", "prompt": "a red ball", "colour": "red"}, {"id": "p1", "prompt": HOSTILE}]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "settings.toml").write_text(settings)
    workspace = Workspace(load_settings(tmp_path / "settings.toml"))
    e = workspace.settings.experiment("e")
    ingest_prompts(workspace, e)
    image = workspace.settings.backbones["b"].makes_images
    for v, variant in enumerate(VARIANTS):
        for i in range(2):
            frames = still(10 * v + i)
            suffix, data = (".png", encode_png(frames[0])) if image else (".mp4", encode_mp4(frames, 8))
            workspace.store.write(VIDEO, key_of(variant, i), suffix, data, {"eta": 0.5, "note": HOSTILE})
    per_prompt = [
        (variant, metric, "p0", value)
        for variant in VARIANTS
        for metric, value in (("clipsim", 0.25), ("right:colour", 1.0))
    ]
    keep_scores(workspace, replace(table, experiment="e"), per_prompt)

    def items(_: Workspace, one: Experiment, variant: str) -> list[Made]:
        return [Made(prompt, key_of(variant, i)) for i, prompt in enumerate(load_prompts(workspace, one))]

    references = (
        Neighbour("r0", "c" * 40, f"a caption {HOSTILE}", 0.9, 1),
        Neighbour("r1", "d" * 40, "other", 0.8, 2),
    )
    rewrites = {"p0": rewrite("a bright red ball", None), "p1": rewrite(HOSTILE, "too far from the prompt")}
    monkeypatch.setattr(generation, "video_items", items)
    monkeypatch.setattr(gallery, "neighbours_of", lambda *_: {"p0": references, "p1": references})
    monkeypatch.setattr(gallery, "rewrites_of", lambda *_: rewrites)
    monkeypatch.setattr(gallery, "clip_bytes", lambda *_: encode_mp4(still(99), 8))
    return workspace


def rewrite(text: str, reason: str | None) -> Rewrite:
    """A rewrite as the rewriting room gives it."""
    return Rewrite(text=text, original="", references=(), fallback_reason=reason, attempts=(), model="tiny")


def key_of(variant: str, prompt: int) -> str:
    """A key for a video that nobody generated."""
    return f"{list(VARIANTS).index(variant)}{prompt}" + "a" * 38


def still(seed: int) -> Frames:
    """Four equal frames of four blocks."""
    blocks = np.random.default_rng(seed).integers(0, 255, (1, 2, 2, 3)).astype(np.uint8)
    return blocks.repeat(4, axis=0).repeat(8, axis=1).repeat(8, axis=2)
