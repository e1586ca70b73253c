"""The automation contract through a real `dagster dev`: files are saved, and what runs is what they concern.

`tests/assets/automation` holds the whole contract, played by hand. Here are the rows that only the processes
can show: sensors and daemon as they tick, on the miniature's real stages. Two experiments share the pool, so
that two rows go through at once. The tests stand in the order in which they change the project.
"""

import csv
import io
import json
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from dagster._core.scheduler.instigation import TickStatus

from onaspr_core.generation import video_items
from onaspr_core.retrieval.neighbours import Neighbour, neighbours_of
from onaspr_core.settings import load_settings
from onaspr_core.workspace import Workspace
from tests.assets.automation.platform import Ran, assets, computed
from tests.dagster_dev import DagsterDev, dagster_dev
from tests.project import OTHER, SETTINGS, Project, make_project

pytestmark = pytest.mark.timeout(900)

SECONDS_UNTIL_ASKED_FOR = 45
PROMPTS = 4
AFTER_VIDEOS = ["figures", "gallery", "scores", "tables"]
POOL = ["caption_embeddings", "pool_clips", "pool_manifest"]
NEXT_TO_PROMPTS = ["inverted_latents", "neighbours", "rewritten_prompts"]
VIDEOS = ["baseline_videos", "ona_spr_videos", "ona_videos", "spr_videos"]

ETA, ANOTHER_ETA = "eta = 0.5", "eta = 1.0"
GAMMA, ANOTHER_GAMMA = "gamma = 0.75", "gamma = 1.0"
PROJECT_SETTINGS = (
    SETTINGS
    + OTHER.replace("prompts.jsonl", "other.jsonl").replace(ETA, "eta = 0.6").replace("gamma = 0.5", GAMMA)
).replace("prompt_limit = 4", "prompt_limit = 4\nrewriter.retries = 0")
OTHER_PROMPTS = slice(10, 10 + PROMPTS)
"""Prompts whose rewrites are not all refused."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Both experiments with all they ask for."""
    made = make_project(tmp_path_factory.mktemp("daemon") / "project", PROJECT_SETTINGS, real_videos=40)
    prompts = (made.folder / "world/prompts.jsonl").read_text().splitlines()
    (made.folder / "world/other.jsonl").write_text("\n".join(prompts[OTHER_PROMPTS]))
    for finished in (made.observe(), made.materialize(), made.materialize(experiment="other")):
        assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-4000:]
    return made


@pytest.fixture(scope="module")
def running(project: Project) -> Iterator[DagsterDev]:
    with dagster_dev(project) as dev:
        yield dev


@pytest.fixture
def dev(running: DagsterDev) -> Iterator[DagsterDev]:
    """The one `dagster dev` of these tests; where one of them fails, pytest shows the end of its log."""
    yield running
    print(running.tail())


def of(ran: list[Ran], experiment: str | None) -> list[Ran]:
    """What ran for an experiment; None for what all of them share."""
    return [one for one in ran if one.partition == experiment]


def without_report(ran: list[Ran]) -> list[Ran]:
    """What ran but the report, which follows each gallery that changed, or several at once."""
    reports = [one for one in ran if one.asset == "report"]
    assert 1 <= len(reports) <= 2
    assert {one.partition for one in reports} == {None}
    return [one for one in ran if one.asset != "report"]


def videos(ran: list[Ran]) -> dict[str, int]:
    """Items computed by each of the variants that ran."""
    return {one.asset: one.computed for one in ran if one.asset in VIDEOS}


def with_rewrite(project: Project, asset: str, experiment: str) -> int:
    """How many videos of a variant see a rewrite; the others are those of the same variant without SPR."""
    without = project.metadata(experiment)[asset]["prompts_without_rewrite"]
    assert isinstance(without, int)
    assert without < PROMPTS, "rewrites that nobody uses show nothing"
    return PROMPTS - without


@dataclass(frozen=True)
class State:
    """What each prompt of the experiment `miniature` borrows, and the content keys of its videos."""

    references: Mapping[str, tuple[Neighbour, ...]]
    videos: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, project: Project) -> "State":
        workspace = Workspace(load_settings(project.settings))
        experiment = workspace.settings.experiment("miniature")
        keys = {
            f"{variant}_videos": {
                item.prompt.id: item.key for item in video_items(workspace, experiment, variant)
            }
            for variant in ("baseline", "ona", "spr", "ona_spr")
        }
        return cls(neighbours_of(workspace, experiment), keys)


def differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Prompts that have something else than before."""
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def reword(table: Path, video: str) -> None:
    """Begin the caption of a video with a capital letter: another text, and as near to every prompt."""
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    row = next(row for row in rows if row["videoid"] == video)
    assert row["name"][0].islower()
    row["name"] = row["name"].capitalize()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    table.write_text(text.getvalue())


def once(ran: list[Ran], expected: Collection[str]) -> bool:
    """Whether exactly these assets ran, each once."""
    return assets(ran) == sorted(expected)


def test_nothing_is_asked_for_where_everything_exists_and_values_are_equal(
    project: Project, dev: DagsterDev
) -> None:
    assert dev.settle(saved=0.0, quiet=2) == []
    plain, equal = f"{ETA}\ngamma = 0.5\n", "gamma = 0.50  # of all steps\neta = 0.50\n"
    saved = project.edit((plain, equal))
    assert dev.look_at_settings(saved).status == TickStatus.SKIPPED
    assert dev.settle(saved) == []
    project.edit((equal, plain))


def test_a_mistake_is_told_by_the_tick_and_makes_nothing(project: Project, dev: DagsterDev) -> None:
    tick = dev.look_at_settings(project.edit((ETA, "eta = -1")))
    assert tick.status == TickStatus.FAILURE
    assert "experiments.miniature.eta: input should be greater than or equal to 0, got -1" in str(tick.error)
    dev.evaluations(tick.timestamp)
    saved = project.edit(("eta = -1", ETA))
    assert dev.look_at_settings(saved).status == TickStatus.SKIPPED
    assert dev.settle(saved) == []


def test_eta_and_gamma_make_the_videos_of_two_variants_each(project: Project, dev: DagsterDev) -> None:
    saved = project.edit((ETA, ANOTHER_ETA), (GAMMA, ANOTHER_GAMMA))
    first = dev.wait("the first run", dev.new_runs)[0]
    assert first.create_timestamp.timestamp() - saved < SECONDS_UNTIL_ASKED_FOR
    ran = without_report(dev.settle(saved))
    assert {one.partition for one in ran} == {"miniature", "other"}

    eta = of(ran, "miniature")
    assert once(eta, ["ona_videos", "ona_spr_videos", *AFTER_VIDEOS])
    # Where a prompt kept its own words both variants have one video, and either of them may make it.
    assert sum(videos(eta).values()) == PROMPTS + with_rewrite(project, "ona_spr_videos", "miniature")
    assert project.metadata()["ona_videos"]["eta"] == 1.0

    gamma = of(ran, "other")
    assert once(gamma, ["spr_videos", "ona_spr_videos", *AFTER_VIDEOS])
    assert videos(gamma) == {
        name: with_rewrite(project, name, "other") for name in ("spr_videos", "ona_spr_videos")
    }
    assert project.metadata("other")["spr_videos"]["gamma"] == 1.0


def test_an_earlier_eta_finds_its_videos_and_a_broken_file_is_tried_twice(
    project: Project, dev: DagsterDev
) -> None:
    prompts = project.folder / "world/other.jsonl"
    prompts.write_text(prompts.read_text().replace("}", "", 1))
    ran = dev.settle(project.edit((ANOTHER_ETA, ETA)), quiet=2)
    assert once(of(ran, "miniature"), ["ona_videos", "ona_spr_videos", *AFTER_VIDEOS])
    assert videos(ran) == {"ona_videos": 0, "ona_spr_videos": 0}
    assert of(ran, "other") == [Ran("prompts", "other", -1, -1)] * 2


def test_a_caption_makes_the_items_that_it_touches_and_a_mended_file_all_that_moved(
    project: Project, dev: DagsterDev
) -> None:
    before = State.of(project)
    prompt, (neighbour, *_) = next(iter(before.references.items()))
    reword(project.folder / "world/pool.csv", neighbour.pair_id)
    prompts = project.folder / "world/other.jsonl"
    first, *others = prompts.read_text().splitlines()
    row = json.loads(first + "}")
    prompts.write_text("\n".join([json.dumps({**row, "prompt": f"look: {row['prompt']}"}), *others]))
    ran = without_report(dev.settle(time.time()))
    after = State.of(project)

    assert once(of(ran, None), POOL)
    assert computed(of(ran, None)) == {"pool_manifest": 1, "caption_embeddings": 1}

    touched = differing(before.references, after.references)
    assert prompt in touched
    assert len(touched) < PROMPTS
    assert after.references[prompt][0].clip_key == neighbour.clip_key
    caption = of(ran, "miniature")
    assert once(caption, [*NEXT_TO_PROMPTS, "ona_videos", "spr_videos", "ona_spr_videos", *AFTER_VIDEOS])
    made = computed(caption)
    assert made["rewritten_prompts"] == len(touched)
    assert "inverted_latents" not in made, "the clip is the same, and so is its noise"
    for name, keys in after.videos.items():
        assert differing(before.videos[name], keys) <= touched
        assert made.get(name, 0) == len(differing(before.videos[name], keys)), name
    assert before.videos["ona_videos"] == after.videos["ona_videos"]

    mended = of(ran, "other")
    assert once(mended, ["prompts", *NEXT_TO_PROMPTS, *VIDEOS, *AFTER_VIDEOS])
    made = computed(mended)
    assert made["prompts"] == made["baseline_videos"] == 1
    # Where the prompt keeps its own words both variants have one video, and either of them may make it.
    assert 1 <= made.get("ona_videos", 0) + made.get("ona_spr_videos", 0) <= 2
