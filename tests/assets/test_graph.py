import re
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from onaspr_assets.build import build_defs

ROOT = Path(__file__).parents[2]

EXPERIMENT_ASSETS = {
    "prompts",
    "neighbours",
    "inverted_latents",
    "rewritten_prompts",
    "baseline_videos",
    "ona_videos",
    "spr_videos",
    "ona_spr_videos",
    "benchmark_videos",
    "reference_features",
    "scores",
    "tables",
    "figures",
    "gallery",
}
SHARED_ASSETS = {"pool_manifest", "pool_clips", "caption_embeddings", "report"}
STUDIES_OF_ONE = {"table_2a", "table_2b", "table_2c", "table_2d", "table_4", "figure_4"}
STUDIES_OF_SEVERAL = {"table_1", "table_3", "figure_3"}
STUDIES = STUDIES_OF_ONE | STUDIES_OF_SEVERAL
OF_EACH_EXPERIMENT = {
    "backbone",
    "eta",
    "evaluation",
    "gamma",
    "inversion",
    "prompts",
    "references",
    "rewriter",
    "sampling",
}


@pytest.fixture(scope="module")
def graph() -> AssetGraph:
    return build_defs().resolve_asset_graph()


def downstream(graph: AssetGraph, *path: str) -> set[str]:
    """All assets but studies that a change of one asset can reach."""
    return reached_from(graph, *path) - STUDIES


def reached_from(graph: AssetGraph, *path: str) -> set[str]:
    """All assets that a change of one asset can reach."""
    reached: set[dg.AssetKey] = set()
    fresh = {dg.AssetKey(list(path))}
    while fresh:
        fresh = {child for key in fresh for child in graph.get(key).child_keys} - reached
        reached |= fresh
    return {key.to_user_string() for key in reached}


def test_every_asset_of_the_house_is_there(graph: AssetGraph) -> None:
    made = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert made == EXPERIMENT_ASSETS | SHARED_ASSETS | STUDIES


def test_experiments_are_the_one_partition_dimension(graph: AssetGraph) -> None:
    for name in EXPERIMENT_ASSETS | STUDIES_OF_ONE:
        partitions = graph.get(dg.AssetKey(name)).partitions_def
        assert isinstance(partitions, dg.DynamicPartitionsDefinition)
        assert partitions.name == "experiments"
    for name in SHARED_ASSETS | STUDIES_OF_SEVERAL:
        assert graph.get(dg.AssetKey(name)).partitions_def is None


def test_studies_are_asked_for_by_people_alone_and_nothing_else_is(graph: AssetGraph) -> None:
    assert {key.to_user_string() for key in graph.get_all_asset_keys() if in_studies(graph, key)} == STUDIES
    for name in STUDIES:
        assert graph.get(dg.AssetKey(name)).automation_condition is None, name
    for name in EXPERIMENT_ASSETS | SHARED_ASSETS:
        assert graph.get(dg.AssetKey(name)).automation_condition is not None, name


def test_the_settings_reach_the_studies_whose_videos_they_make(graph: AssetGraph) -> None:
    def studies(*path: str) -> set[str]:
        return reached_from(graph, *path) & STUDIES

    of_scores = STUDIES_OF_SEVERAL
    assert studies("params", "studies") == STUDIES
    assert studies("params", "eta") == of_scores | {"table_2a", "table_2d", "table_4", "figure_4"}
    assert studies("params", "gamma") == of_scores | {
        "table_2a",
        "table_2b",
        "table_2c",
        "table_2d",
        "table_4",
    }
    assert studies("params", "rewriter") == studies("params", "gamma")
    assert studies("params", "pool") == STUDIES
    assert studies("benchmark_videos") == STUDIES - {"table_4"}


def in_studies(graph: AssetGraph, key: dg.AssetKey) -> bool:
    return graph.get(key).group_name == "studies"


def test_eta_reaches_the_two_variants_with_inverted_noise_and_what_shows_them(graph: AssetGraph) -> None:
    shown = {"scores", "tables", "figures", "gallery", "report"}
    assert downstream(graph, "params", "eta") == {"ona_videos", "ona_spr_videos"} | shown
    assert downstream(graph, "params", "gamma") == {"spr_videos", "ona_spr_videos"} | shown


def test_the_baseline_depends_on_neither_eta_nor_gamma_nor_the_pool(graph: AssetGraph) -> None:
    for source in (["params", "eta"], ["params", "gamma"], ["params", "pool"], ["neighbours"]):
        assert "baseline_videos" not in downstream(graph, *source)


def test_the_pool_reaches_what_is_drawn_from_it_and_not_the_prompts(graph: AssetGraph) -> None:
    reached = downstream(graph, "params", "pool")
    assert {
        "pool_clips",
        "caption_embeddings",
        "neighbours",
        "inverted_latents",
        "rewritten_prompts",
    } <= reached
    assert not reached & {"prompts", "benchmark_videos", "reference_features"}


def test_every_setting_is_an_asset_that_something_depends_on(graph: AssetGraph) -> None:
    for name in {"pool", "embedding", "studies"} | OF_EACH_EXPERIMENT:
        assert reached_from(graph, "params", name), name


def test_every_asset_has_group_kinds_owner_and_says_why_it_changes(graph: AssetGraph) -> None:
    for name in EXPERIMENT_ASSETS | SHARED_ASSETS | STUDIES:
        node = graph.get(dg.AssetKey(name))
        assert node.group_name != "default", name
        assert node.kinds, name
        assert node.owners, name
        assert any(word in (node.description or "") for word in ("Changes", "Depends")), name


def test_steps_that_want_the_gpu_wait_for_it(graph: AssetGraph) -> None:
    wanting = {"inverted_latents", "baseline_videos", "ona_spr_videos", "reference_features", "scores"}
    for name in wanting | STUDIES:
        assert graph.get(dg.AssetKey(name)).pools == {"gpu"}


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        ("ona_videos", {"ona_videos"}),
        ("group:generation", {"baseline_videos", "ona_videos", "spr_videos", "ona_spr_videos"}),
        (
            "key:ona_videos+ and not group:studies",
            {"ona_videos", "scores", "tables", "figures", "gallery", "report"},
        ),
        ("group:studies", STUDIES),
        (
            "+ona_spr_videos",
            {"prompts", "neighbours", "inverted_latents", "rewritten_prompts", "ona_spr_videos"},
        ),
        (
            "*ona_spr_videos",
            {"pool_manifest", "pool_clips", "caption_embeddings", "prompts", "neighbours"}
            | {"inverted_latents", "rewritten_prompts", "ona_spr_videos"},
        ),
    ],
)
def test_the_selections_of_the_readme_choose_what_it_says(select: str, chosen: set[str]) -> None:
    assert select in (ROOT / "README.md").read_text()
    graph = build_defs().get_repository_def().asset_graph
    keys = dg.AssetSelection.from_coercible(select.split(",")).resolve(graph)
    assert {key.to_user_string() for key in keys} == chosen


def test_every_selection_of_the_makefile_is_one_that_dagster_understands(graph: AssetGraph) -> None:
    text = (ROOT / "Makefile").read_text()
    written = re.findall(r"--select '([^']+)'", text) + re.findall(r"^ASSETS \?= (.+)$", text, re.MULTILINE)
    chosen = {}
    for select in set(written) - {"$(ASSETS)"}:
        keys = dg.AssetSelection.from_coercible(select.split(",")).resolve(graph)
        chosen[select] = {key.to_user_string() for key in keys}
    assert chosen["* and not group:studies"] == EXPERIMENT_ASSETS | SHARED_ASSETS
    assert STUDIES | {"report"} in chosen.values()


def test_the_readme_draws_every_arrow_that_does_not_follow_from_others(graph: AssetGraph) -> None:
    # Studies are left out: nothing waits for them, and each would draw an arrow from nearly everything.
    made = {key for key in graph.materializable_asset_keys if not in_studies(graph, key)}
    arrows = {
        (parent.to_user_string(), key.to_user_string())
        for key in made
        for parent in graph.get(key).parent_keys & made
    }
    needed = {arrow for arrow in arrows if not _leads(arrows - {arrow}, *arrow)}
    drawing = (ROOT / "README.md").read_text().split("```mermaid")[1].split("```")[0]
    drawn = set()
    for line in drawing.splitlines():
        steps = [[name.strip() for name in part.split("&")] for part in line.split("-->")]
        for parents, children in pairwise(steps):
            drawn |= {(parent, child) for parent in parents for child in children}
    assert drawn == needed


def _leads(arrows: set[tuple[str, str]], start: str, end: str) -> bool:
    """Whether a way of arrows leads from one asset to another."""
    reached, fresh = {start}, {start}
    while fresh:
        fresh = {child for parent, child in arrows if parent in fresh} - reached
        reached |= fresh
    return end in reached
