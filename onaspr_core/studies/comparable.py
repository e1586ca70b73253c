"""Whether a score of ours may be compared with the paper's number: it may where nothing but the run differs.

Each reason against it is a short sentence that names what is used here and what was used there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onaspr_core.evaluation.extractors import C3D, I3D, INCEPTION, PUBLISHED, FeatureSet
from onaspr_core.evaluation.features import FeatureSets
from onaspr_core.evaluation.published import PUBLISHED as BENCHMARKS
from onaspr_core.evaluation.score_table import Score
from onaspr_core.options import inversion_options, mixing_options
from onaspr_core.settings import PROMPTS_OF_BENCHMARK, BackboneSettings, Experiment, Settings
from onaspr_core.studies.paper import PaperNumber
from onaspr_core.studies.plans import Row, symbol
from onaspr_core.variants import VARIANTS

WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "modelscope": ("damo-vilab/text-to-video-ms-1.7b", "ali-vilab/text-to-video-ms-1.7b"),
    "stable-diffusion-1.5": ("runwayml/stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
    "sdxl": ("stabilityai/stable-diffusion-xl-base-1.0",),
}
"""Hub ids of the paper's models, then and now, by family. Its SCVideo was never published."""

SHAPES: Mapping[str, tuple[int, int, int]] = {
    "modelscope": (16, 256, 256),
    "scvideo": (16, 256, 256),
    "stable-diffusion-1.5": (1, 512, 512),
    "sdxl": (1, 1024, 1024),
}
EMBEDDER = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
CLIP = "openai/clip-vit-base-patch32"
REWRITER = "gpt-3.5-turbo"
ENGINES: Mapping[str, tuple[str, ...]] = {
    "ChatGPT": (REWRITER,),
    "Llama2-7B": ("llama-2-7b", "llama2-7b"),
}
"""What the models of Table 2d's rows are called, by row; their names may go on."""
POOL_SIZE = 100_000
REFERENCES = 5
CLIPS = (256, 8)
"""Resolution of the pool's clips, and every which frame is kept."""
TURNED: Mapping[tuple[str, str], tuple[float, float]] = {
    ("scvideo", "msr-vtt"): (0.5, 0.1),
    ("scvideo", "ucf101"): (0.5, 1.0),
    ("modelscope", "msr-vtt"): (0.2, 0.04),
    ("modelscope", "ucf101"): (0.2, 1.0),
    ("stable-diffusion-1.5", "coco"): (0.05, 0.4),
    ("sdxl", "coco"): (0.05, 0.4),
}
"""The paper's eta and gamma, by family and benchmark."""

SET: Mapping[str, str] = {
    "table_2a": "pool size",
    "table_2b": "gamma",
    "table_2c": "references",
    "table_2d": "rewriter",
    "figure_4": "eta",
}
"""What a study sets itself, so that its rows have it as the paper's have."""

STEPS = 50
GUIDANCE: Mapping[str, float] = {
    "modelscope": 9.0,
    "scvideo": 7.5,
    "stable-diffusion-1.5": 7.5,
    "sdxl": 5.0,
}
"""Steps and guidance that count as the paper's, which gives none: those the models are published with."""
SPLITS, FVD_STRIDE = 10, 5


def reasons_against(
    study: str, settings: Settings, sets: FeatureSets, row: Row, score: Score, number: PaperNumber
) -> tuple[str, ...]:
    """Why a score does not compare with the paper's number of its row; empty where it does.

    Args:
        study: The study's name.
        settings: The settings file.
        sets: The networks of the row's experiment.
        row: The row that the score stands in.
        score: Ours.
        number: The paper's, of this row and metric.
    """
    e = row.made.experiment
    backbone = settings.backbones[e.backbone]
    return (
        *_model(study, backbone),
        *_protocol(e, backbone.family, score.metric),
        *_inputs(study, settings, row, number.benchmark),
        *_real_side(e, score, number),
        *_network(e, sets, score.metric),
    )


def _model(study: str, backbone: BackboneSettings) -> Iterator[str]:
    family = backbone.family
    if study in SET and family != "scvideo":
        yield "the paper's model is SCVideo"
    elif family == "scvideo":
        yield "the weights of the paper's SCVideo were never published"
    elif backbone.path not in WEIGHTS.get(family, ()):
        yield "the model's weights are others"
    shape = (backbone.frames, backbone.height, backbone.width)
    if family in SHAPES and shape != SHAPES[family]:
        told = [" × ".join(map(str, one)) for one in (shape, SHAPES[family])]
        yield f"videos are {told[0]}, not {told[1]}"


def _protocol(e: Experiment, family: str, metric: str) -> Iterator[str]:
    """What differs in how videos are sampled and measured, whatever they borrow."""
    steps, guidance = e.sampling.steps, e.sampling.guidance_scale
    if steps != STEPS:
        yield f"steps are {steps}, not {STEPS}"
    if guidance != GUIDANCE.get(family, guidance):
        yield f"guidance is {guidance:g}, not {GUIDANCE[family]:g}"
    if metric == "is" and e.evaluation.inception_splits != SPLITS:
        yield f"IS is over {e.evaluation.inception_splits} splits, not {SPLITS}"
    benchmark = e.evaluation.benchmark
    if metric == "fvd" and benchmark is not None and benchmark.fvd_stride != FVD_STRIDE:
        yield f"FVD sees every {benchmark.fvd_stride}th real frame, not every {FVD_STRIDE}th"


def _inputs(study: str, settings: Settings, row: Row, benchmark: str) -> Iterator[str]:
    """What differs in noise and prompts, of a variant that borrows any."""
    e, variant = row.made.experiment, VARIANTS[row.made.variant]
    if not (variant.inverted_noise or variant.rewritten_prompt):
        return
    pool, backbone = settings.pools[e.pool], settings.backbones[e.backbone]
    if pool.format != ("flickr30k" if backbone.makes_images else "webvid"):
        yield "the pool is another"
    elif not backbone.makes_images and (pool.clip.resolution, pool.clip.frame_stride) != CLIPS:
        yield "clips are cut in another way"
    elif not backbone.makes_images and study != "table_2a" and (e.pool_size or pool.size) != POOL_SIZE:
        yield f"the pool has not {POOL_SIZE:,} pairs"
    if settings.embedding.model != EMBEDDER:
        yield "captions are embedded by another model"
    eta, gamma = TURNED.get((backbone.family, benchmark), (e.eta, e.gamma))
    if variant.inverted_noise:
        if e.eta != eta and SET.get(study) != "eta":
            yield f"η is {symbol(e.eta)}, not {symbol(eta)}"
        options = {**inversion_options(e), **mixing_options(e)}
        if e.inversion.fixed_point_iterations:
            options["fixed_point_iterations"] = e.inversion.fixed_point_iterations
        yield from (f"noise is made with {name}, which the paper has not" for name in options)
    if variant.rewritten_prompt:
        # Table 2c rewrites alone, with γ = 1 as its plan says.
        if e.gamma != gamma and SET.get(study) not in ("gamma", "references"):
            yield f"γ is {e.gamma:g}, not {gamma:g}"
        if e.references.k != REFERENCES and SET.get(study) != "references":
            yield f"k is {e.references.k}, not {REFERENCES}"
        wanted = ENGINES.get(row.paper, ()) if SET.get(study) == "rewriter" else (REWRITER,)
        name = e.rewriter.model.rpartition("/")[2].lower()
        if not any(name.startswith(one) for one in wanted):
            yield f"prompts are rewritten by {e.rewriter.model}, not {' or '.join(wanted) or row.paper}"


def _real_side(e: Experiment, score: Score, number: PaperNumber) -> Iterator[str]:
    benchmark = e.evaluation.benchmark
    published = BENCHMARKS[number.benchmark]
    if benchmark is None or benchmark.format != number.benchmark:
        yield f"the benchmark is not {published.name}"
        return
    if e.prompts != PROMPTS_OF_BENCHMARK:
        yield "prompts are a file's, not the benchmark's own"
    for told, n in (("n", score.n), ("n of the real side", score.n_real)):
        if n not in (0, published.items):
            yield f"{told} is {n:,}, not {published.items:,}"


def _network(e: Experiment, sets: FeatureSets, metric: str) -> Iterator[str]:
    chosen = e.evaluation.features.image_text
    path = chosen if isinstance(chosen, str) else chosen.path
    fitting = {
        "fid": _is_published(sets.image, INCEPTION),
        "clip_fid": path == CLIP,
        "clipsim": path == CLIP,
        "fvd": sets.video is not None and _is_published(sets.video, I3D),
        "is": sets.classifier.architecture == C3D,
    }
    if not fitting[metric]:
        yield "feature networks are others"


def _is_published(network: FeatureSet, architecture: str) -> bool:
    return PUBLISHED.get(network.sha256 or "") == architecture
