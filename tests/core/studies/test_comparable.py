"""A score compares with the paper's number where nothing differs; each thing that does gives its reason."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from onaspr_core.evaluation.extractors import C3D, I3D, INCEPTION, PUBLISHED, FeatureSet, Role
from onaspr_core.evaluation.features import FeatureSets
from onaspr_core.evaluation.score_table import Score
from onaspr_core.evaluation.scores import Made
from onaspr_core.settings import Settings, load_settings
from onaspr_core.studies.comparable import reasons_against
from onaspr_core.studies.paper import paper_numbers
from onaspr_core.studies.plans import Row
from onaspr_core.variants import VARIANTS

PAPERS = """
[pools.p]
format = "webvid"
path = "pool.csv"
videos = "."
[backbones.b]
family = "modelscope"
path = "ali-vilab/text-to-video-ms-1.7b"
[experiments.e]
pool = "p"
backbone = "b"
prompts = "benchmark"
eta = 0.2
gamma = 0.04
rewriter.model = "gpt-3.5-turbo"
[experiments.e.evaluation]
benchmark = { format = "msr-vtt", path = "list.json", videos = "." }
[experiments.e.evaluation.features]
label = "paper"
image_classifier = "a"
image_text = "openai/clip-vit-base-patch32"
video_classifier = "c"
"""
SHA = {architecture: sha for sha, architecture in PUBLISHED.items()}


def network(role: Role, architecture: str, sha256: str | None = None) -> FeatureSet:
    return FeatureSet(role, architecture, "paper", Path("x"), "f", sha256=sha256)


SETS = FeatureSets(
    network("image classifier", INCEPTION, SHA[INCEPTION]),
    network("image-text model", "CLIPModel"),
    network("video classifier", I3D, SHA[I3D]),
    network("video classifier", C3D, "1" * 64),
)
SCORE = Score(
    *("ona_spr", "fid", 40.0, None, 2990, 2990, 0, 14950, 14950, None, "paper", "paper", "f"),
    *(None, None, None, None, 0, "", "key"),
)


def reasons(
    folder: Path,
    changes: Iterable[tuple[str, str]] = (),
    *,
    variant: str = "ona_spr",
    metric: str = "fid",
    study: str = "table_1",
    row: str = "",
    sets: FeatureSets = SETS,
    n: int = 2990,
    n_real: int = 2990,
) -> tuple[str, ...]:
    text = PAPERS
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    for name in ("pool.csv", "list.json", "prompts.txt"):
        (folder / name).touch()
    (folder / "settings.toml").write_text(text)
    settings: Settings = load_settings(folder / "settings.toml")
    e = settings.experiment("e")
    family = settings.backbones[e.backbone].family
    paper = row or f"{family}/{variant}"
    score = replace(SCORE, metric=metric, n=n, n_real=n_real)
    number = paper_numbers(study)[paper][metric]
    return reasons_against(study, settings, sets, Row("x", paper, Made(e, variant)), score, number)


UCF = [
    ('"msr-vtt"', '"ucf101"'),
    ("gamma = 0.04", "gamma = 1.0"),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_equals_the_paper_in_everything_compares(tmp_path: Path, variant: str) -> None:
    for metric in ("fid", "clip_fid", "clipsim"):
        n_real = 0 if metric == "clipsim" else 2990
        assert reasons(tmp_path, variant=variant, metric=metric, n_real=n_real) == ()
    assert reasons(tmp_path, UCF, variant=variant, metric="fvd", n=3783, n_real=3783) == ()
    assert reasons(tmp_path, UCF, variant=variant, metric="is", n=3783, n_real=0) == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ali-vilab/text-to-video-ms-1.7b", "someone/else", "the model's weights are others"),
        (
            '"modelscope"',
            '"modelscope"\nframes = 8\nheight = 64\nwidth = 64',
            "videos are 8 × 64 × 64, not 16 × 256 × 256",
        ),
        ('format = "webvid"', 'format = "folder"', "the pool is another"),
        ('"pool.csv"', '"pool.csv"\nsize = 50', "the pool has not 100,000 pairs"),
        ("eta = 0.2", "eta = 0.2\npool_size = 50", "the pool has not 100,000 pairs"),
        ("[pools.p]", '[embedding]\nmodel = "o/m"\n[pools.p]', "captions are embedded by another model"),
        ("gpt-3.5-turbo", "llama", "prompts are rewritten by llama, not gpt-3.5-turbo"),
        ("eta = 0.2", "eta = inf", "η is ∞, not 0.2"),
        ("gamma = 0.04", "gamma = 0.1", "γ is 0.1, not 0.04"),
        ('"pool.csv"', '"pool.csv"\nclip.frame_stride = 4', "clips are cut in another way"),
        ('"benchmark"', '"prompts.txt"', "prompts are a file's, not the benchmark's own"),
        ("gamma = 0.04", "gamma = 0.04\nreferences.k = 2", "k is 2, not 5"),
        ('format = "msr-vtt"', 'format = "webvid"', "the benchmark is not MSR-VTT test"),
        ("eta = 0.2", "eta = 0.2\nsampling.steps = 25", "steps are 25, not 50"),
        ("eta = 0.2", "eta = 0.2\nsampling.guidance_scale = 2.0", "guidance is 2, not 9"),
        (
            "eta = 0.2",
            'eta = 0.2\ninversion.whitening = "spatial"',
            "noise is made with whitening, which the paper has not",
        ),
        (
            "eta = 0.2",
            "eta = 0.2\ninversion.fixed_point_iterations = 1",
            "noise is made with fixed_point_iterations, which the paper has not",
        ),
    ],
)
def test_each_difference_gives_its_reason_and_no_other(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert reasons(tmp_path, [(old, new)]) == (told,)


@pytest.mark.parametrize(
    ("metric", "sets"),
    [
        ("fid", replace(SETS, image=network("image classifier", INCEPTION, "1" * 64))),
        ("fvd", replace(SETS, video=network("video classifier", I3D, "1" * 64))),
        ("fvd", replace(SETS, video=None)),
        ("is", replace(SETS, classes=None)),
    ],
)
def test_another_network_counts_for_its_own_metric_alone(
    tmp_path: Path, metric: str, sets: FeatureSets
) -> None:
    of_videos = metric in ("fvd", "is")
    changes, n = (UCF, 3783) if of_videos else ([], 2990)
    found = reasons(tmp_path, changes, metric=metric, sets=sets, n=n, n_real=0 if metric == "is" else n)
    assert found == ("feature networks are others",)
    assert reasons(tmp_path, metric="clip_fid", sets=sets) == ()
    clip = [("openai/clip-vit-base-patch32", "o/m")]
    assert reasons(tmp_path, clip, metric="clipsim", n_real=0) == ("feature networks are others",)
    assert reasons(tmp_path, clip, metric="fid") == ()


def test_fewer_items_on_either_side_and_another_protocol_are_reasons(tmp_path: Path) -> None:
    assert reasons(tmp_path, n=2989) == ("n is 2,989, not 2,990",)
    assert reasons(tmp_path, n_real=2989) == ("n of the real side is 2,989, not 2,990",)
    splits = ("[experiments.e.evaluation]", "[experiments.e.evaluation]\ninception_splits = 4")
    found = reasons(tmp_path, [*UCF, splits], metric="is", n=3783, n_real=0)
    assert found == ("IS is over 4 splits, not 10",)
    stride = ('videos = "." }', 'videos = ".", fvd_stride = 8 }')
    found = reasons(tmp_path, [*UCF, stride], metric="fvd", n=3783, n_real=3783)
    assert found == ("FVD sees every 8th real frame, not every 5th",)
    assert reasons(tmp_path, [splits, stride]) == (), "which FID does not know"


def test_the_baseline_borrows_nothing_that_could_differ(tmp_path: Path) -> None:
    other = [
        ("eta = 0.2", "eta = 9.0"),
        ("gamma = 0.04", "gamma = 1.0"),
        ("gpt-3.5-turbo", "meta/Llama-2-7b-chat-hf"),
    ]
    assert reasons(tmp_path, [*other, ('format = "webvid"', 'format = "folder"')], variant="baseline") == ()
    assert len(reasons(tmp_path, other, variant="ona")) == 1
    assert len(reasons(tmp_path, other, variant="spr")) == 2


@pytest.mark.parametrize(
    ("study", "row", "variant", "own"),
    [
        ("table_2a", "10000", "ona_spr", ("eta = 0.2", "eta = 0.5\npool_size = 50")),
        ("table_2b", "0.5", "spr", ("gamma = 0.04", "gamma = 0.5")),
        ("table_2c", "2", "spr", ("gamma = 0.04", "gamma = 1.0\nreferences.k = 2")),
        ("table_2d", "Llama2-7B", "ona_spr", ("gpt-3.5-turbo", "meta/Llama-2-7b-chat-hf")),
        ("figure_4", "0.5", "ona", ("eta = 0.2", "eta = 0.5")),
    ],
)
def test_what_a_study_sets_itself_is_no_reason_and_the_papers_own_model_is(
    tmp_path: Path, study: str, row: str, variant: str, own: tuple[str, str]
) -> None:
    scvideo = [('"modelscope"', '"scvideo"'), ("ali-vilab/text-to-video-ms-1.7b", "weights")]
    usual = {"eta = 0.2": "eta = 0.5", "gamma = 0.04": "gamma = 0.1"}
    rest = [(old, new) for old, new in usual.items() if old != own[0]]
    guided = ("[experiments.e.evaluation]", "sampling.guidance_scale = 7.5\n[experiments.e.evaluation]")
    found = reasons(tmp_path, [*scvideo, *rest, own, guided], study=study, row=row, variant=variant)
    assert found == ("the weights of the paper's SCVideo were never published",)
    assert reasons(tmp_path, [*rest, own], study=study, row=row, variant=variant)[:1] == (
        "the paper's model is SCVideo",
    )


@pytest.mark.parametrize(
    ("row", "model", "told"),
    [
        ("ChatGPT", "gpt-3.5-turbo-0613", ""),
        ("ChatGPT", "smollm2", "smollm2, not gpt-3.5-turbo"),
        ("Llama2-7B", "meta/Llama-2-7b-chat-hf", ""),
        ("Llama2-7B", "gpt-3.5-turbo", "gpt-3.5-turbo, not llama-2-7b or llama2-7b"),
    ],
)
def test_a_rewriter_is_the_papers_by_its_name_and_not_by_its_rows(
    tmp_path: Path, row: str, model: str, told: str
) -> None:
    found = [
        one
        for one in reasons(tmp_path, [("gpt-3.5-turbo", model)], study="table_2d", row=row)
        if "rewritten" in one
    ]
    assert found == ([f"prompts are rewritten by {told}"] if told else [])
