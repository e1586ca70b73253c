"""Two runs at once, as two processes on one home and one store, hold what the same runs hold in turn."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import dagster as dg
import lancedb
import numpy as np
import pytest

from onaspr_assets.build import ASSETS
from onaspr_assets.house import GPU_POOL
from onaspr_assets.turns import GIVEN_BACK, TAKEN
from onaspr_core.artifacts import RECORD_SUFFIX
from onaspr_core.paths import file_sha256
from onaspr_core.pool.clips import clip_bytes
from onaspr_core.settings import load_settings
from onaspr_core.stored_kinds import FEATURES
from onaspr_core.workspace import Workspace
from tests.project import OTHER, SETTINGS, Project, Step, finished, make_world, steps_of

pytestmark = pytest.mark.timeout(900)

GPU_STEPS = {asset.key.to_user_string() for asset in ASSETS if asset.op.pool == GPU_POOL}
TWO_EXPERIMENTS = (SETTINGS + OTHER.replace("eta = 0.5", "eta = 1.0")).replace(
    "prompt_limit = 4", "prompt_limit = 2\nrewriter.retries = 0"
)


@dataclass(frozen=True)
class Kept:
    """All that a project keeps, without what hangs on who came first.

    That is where in a shard a clip lies, and the record of an item that two stages want: it names the one
    that made it, and the gallery's provenance shows it.
    """

    versions: dict[tuple[str, str | None], str]
    rows: dict[str, list[str]]
    captions: list[str]
    clips: dict[str, bytes]
    items: dict[str, str]
    features: dict[str, dict[str, np.ndarray]] = field(compare=False)
    reports: dict[str, str]

    @classmethod
    def by(cls, project: Project) -> "Kept":
        workspace = Workspace(load_settings(project.settings))
        artifacts, reports = project.folder / "store/artifacts", project.folder / "store/reports"
        records = {
            path: path.name.removesuffix(RECORD_SUFFIX) for path in artifacts.rglob(f"*{RECORD_SUFFIX}")
        }
        features = {key for path, key in records.items() if path.is_relative_to(artifacts / FEATURES)}
        return cls(
            versions={
                where: (made.tags or {})["dagster/data_version"] for where, made in project.latest().items()
            },
            rows=_rows(workspace),
            captions=_captions(workspace),
            clips={key: clip_bytes(workspace, key) for key in _ready(workspace)},
            items={
                f"{path.relative_to(artifacts).parts[0]} {key}": json.loads(path.read_bytes())["sha256"]
                for path, key in records.items()
                if key not in features
            },
            features={key: workspace.store.read_tensors(FEATURES, key) for key in features},
            reports={
                str(file.relative_to(reports)): file_sha256(file)
                for file in reports.rglob("*")
                if file.is_file() and not file.name.startswith("provenance-")
            },
        )

    def assert_is(self, expected: "Kept") -> None:
        """Features may differ in their last digits: they are made in batches, of what is missing then."""
        assert self == expected
        assert self.features.keys() == expected.features.keys()
        for key, arrays in self.features.items():
            assert arrays.keys() == expected.features[key].keys()
            for name, values in arrays.items():
                np.testing.assert_allclose(values, expected.features[key][name], atol=1e-6, err_msg=key)


def _rows(workspace: Workspace) -> dict[str, list[str]]:
    tables = workspace.catalog.rows("select table_name from information_schema.tables") or []
    found = {}
    for (name,) in tables:
        columns = "key, status, reason, made_from" if name == "clips" else "*"
        found[name] = sorted(map(repr, workspace.catalog.rows(f"select {columns} from {name}") or ()))
    del found["shards"]
    return found


def _ready(workspace: Workspace) -> list[str]:
    return [key for (key,) in workspace.catalog.rows("select key from clips where status = 'ready'") or ()]


def _captions(workspace: Workspace) -> list[str]:
    database: Any = lancedb.connect(workspace.lance_path)
    (name,) = database.list_tables().tables
    return sorted(map(repr, database.open_table(name).to_arrow().to_pylist()))


def runs_of(project: Project) -> list[list[Step]]:
    """The steps of each run that materialized something, by their start."""
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        found = [steps_of(instance, run.run_id) for run in instance.get_runs()]
    return [steps for steps in found if len(steps) > 1]


def turns_of(project: Project) -> list[Step]:
    """When each step had the GPU, by its start: Dagster's own slots are not kept to by SQLite."""
    turns: list[Step] = []
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        for run in instance.get_runs():
            taken: dict[str, float] = {}
            for entry in instance.all_logs(run.run_id):
                name = str(entry.step_key)
                if f"{TAKEN} {GPU_POOL}" in entry.user_message:
                    taken[name] = entry.timestamp
                elif f"{GIVEN_BACK} {GPU_POOL}" in entry.user_message:
                    turns.append(Step(run.run_id, name, taken[name], entry.timestamp))
    return sorted(turns, key=lambda turn: turn.start)


def materialize_at_once(project: Project, experiments: Sequence[str]) -> None:
    """Materialize everything for these experiments, each in a process of its own, and all of it succeeds."""
    processes = [project.begin(experiment=experiment) for experiment in experiments]
    for told in [finished(process) for process in processes]:
        assert told.returncode == 0, told.stdout[-4000:] + told.stderr[-4000:]
    for experiment in experiments:
        for name, metadata in project.metadata(experiment).items():
            assert metadata["items_failed"] == 0, (name, metadata)


def assert_that_the_gpu_was_shared(project: Project) -> None:
    """The two runs went on at once and took turns on the GPU, never both at a time."""
    one, other = runs_of(project)
    assert one[0].start < other[-1].end
    assert other[0].start < one[-1].end
    gpu = turns_of(project)
    assert {turn.name for turn in gpu} == GPU_STEPS
    for before, after in pairwise(gpu):
        assert before.end <= after.start, (before, after)
    turns = sum(before.run != after.run for before, after in pairwise(gpu))
    assert turns > 1, "one run after the other shows nothing"


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Makes a project, by name, in which nothing has been made; all have one world and the same settings."""
    root = tmp_path_factory.mktemp("two-runs")
    world = make_world(root / "world", real_videos=40)
    settings = TWO_EXPERIMENTS.replace('"world/', f'"{world}/')

    def make(name: str) -> Project:
        (root / name).mkdir()
        project = Project(root / name, settings)
        home = project.home / "dagster.yaml"
        home.write_text(home.read_text().replace("python_log_level: INFO", "python_log_level: DEBUG"))
        assert project.observe().returncode == 0
        return project

    return make


@pytest.fixture(scope="module")
def in_turn(new_project: Callable[[str], Project]) -> dict[str, Kept]:
    """What a project holds after a run of each experiment, one run after the other."""
    project = new_project("in-turn")
    kept = {}
    for experiment in ("miniature", "other"):
        materialize_at_once(project, [experiment])
        kept[experiment] = Kept.by(project)
    return kept


def test_two_experiments_at_once_hold_what_they_hold_in_turn(
    new_project: Callable[[str], Project], in_turn: dict[str, Kept]
) -> None:
    project = new_project("two-experiments")
    materialize_at_once(project, ["miniature", "other"])
    assert_that_the_gpu_was_shared(project)
    Kept.by(project).assert_is(in_turn["other"])


def test_one_experiment_twice_at_once_holds_what_it_holds_once(
    new_project: Callable[[str], Project], in_turn: dict[str, Kept]
) -> None:
    project = new_project("one-experiment")
    materialize_at_once(project, ["miniature", "miniature"])
    assert_that_the_gpu_was_shared(project)
    Kept.by(project).assert_is(in_turn["miniature"])
