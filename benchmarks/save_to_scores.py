"""From saving `eta` to new scores: `dagster dev` beside what a person would type for it.

Makes everything once in a temporary store, on the first prompts of the miniature. Then eta is edited: with
`dagster dev` running, and nobody doing more; and without it, observing the settings and asking for both
variants' videos and the scores. Needs the world: `make world`.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from _settings import ROOT, replaced
from _timing import print_table

sys.path.append(str(ROOT))

from tests.dagster_dev import DagsterDev, dagster_dev
from tests.project import Project, steps_of

CONCERNED = ("ona_videos", "ona_spr_videos", "scores")


@dataclass(frozen=True)
class Spent:
    """Seconds from a saved eta to its scores, and where they went.

    `asked` passed until the first run was asked for, `starts` until first steps, `steps` in steps and
    `items`, of these, in making items, models loaded included.
    """

    total: float
    asked: float
    starts: float
    steps: float
    items: float
    runs: int

    @property
    def between(self) -> float:
        """What is left: from the end of a run to the next one being asked for."""
        return self.total - self.asked - self.starts - self.steps


@dataclass(frozen=True)
class Typed:
    """Seconds of the two commands that a person types, and those of them spent in making items."""

    total: float
    items: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8, help="how many prompts the experiment generates")
    parser.add_argument("--edits", type=int, default=3, help="how often eta is edited either way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name), settings(options.prompts))
        demand(project, "*")
        with dagster_dev(project) as dev:
            assert dev.settle(0.0) == [], "everything had been made"
            watched = [save_and_watch(project, dev, 0.60 + 0.01 * edit) for edit in range(options.edits)]
        typed = [save_and_type(project, 0.70 + 0.01 * edit) for edit in range(options.edits)]
    show(options.prompts, watched, typed)


def settings(prompts: int) -> str:
    """Return the repository's settings with one experiment, so many prompts, and a store of their own."""
    text = (ROOT / "settings.toml").read_text()
    text = text[: text.index("[experiments.real-clips]")]
    for line, other in (
        (r'^root = ".*"$', 'root = "store"'),
        (r"^prompt_limit = \d+$", f"prompt_limit = {prompts}"),
        (r"^eta = .*$", "eta = 0.5"),
    ):
        text = replaced(text, line, other)
    return re.sub(r'"(data|examples)/', rf'"{ROOT}/\1/', text)


def demand(project: Project, select: str) -> None:
    """Observe the settings and materialize, as a person does who is not watched."""
    for finished in (project.observe(), project.materialize(select)):
        if finished.returncode:
            raise SystemExit(finished.stdout[-2000:] + finished.stderr[-2000:])


def save(project: Project, eta: float) -> float:
    """Write another eta; return when that was."""
    text = re.sub(r"^eta = .*$", f"eta = {eta:.2f}", project.settings.read_text(), flags=re.MULTILINE)
    project.settings.write_text(text)
    return time.time()


def save_and_watch(project: Project, dev: DagsterDev, eta: float) -> Spent:
    """Save another eta and wait until the daemon has made what that concerns."""
    saved = save(project, eta)

    def scored() -> float | None:
        event = dev.instance.get_latest_materialization_event(dg.AssetKey("scores"))
        return event.timestamp if event is not None and event.timestamp > saved else None

    until = dev.wait("new scores", scored, 900)
    runs = [record for record in dev.new_runs() if record.create_timestamp.timestamp() < until]
    steps = [step for record in runs for step in steps_of(dev.instance, record.dagster_run.run_id)]
    spent = Spent(
        total=until - saved,
        asked=min(record.create_timestamp.timestamp() for record in runs) - saved,
        starts=sum(
            min(step.start for step in steps if step.run == record.dagster_run.run_id)
            - record.create_timestamp.timestamp()
            for record in runs
        ),
        steps=sum(step.end - step.start for step in steps),
        items=seconds_in_items(project),
        runs=len(runs),
    )
    dev.settle(saved)
    return spent


def save_and_type(project: Project, eta: float) -> Typed:
    """Save another eta, observe it and ask for what it concerns."""
    save(project, eta)
    started = time.monotonic()
    demand(project, ",".join(CONCERNED))
    return Typed(time.monotonic() - started, seconds_in_items(project))


def seconds_in_items(project: Project) -> float:
    """Return the seconds in which the latest materializations of what eta concerns made items."""
    metadata = project.metadata()
    return sum(
        float(str(metadata[name]["items_computed"])) * float(str(metadata[name]["seconds_per_item"]))
        for name in CONCERNED
    )


def show(prompts: int, watched: Sequence[Spent], typed: Sequence[Typed]) -> None:
    """Print where the time of the median edit went, and how that compares with doing it by hand."""
    spent = sorted(watched, key=lambda one: one.total)[len(watched) // 2]
    hand = sorted(typed, key=lambda one: one.total)[len(typed) // 2]
    print(f"eta saved → new scores; {prompts} prompts, the median of {len(watched)} edits")
    rows = [
        ("dagster dev: the first run is asked for", spent.asked, spent.total),
        (f"  {spent.runs} runs are queued and their processes start", spent.starts, spent.total),
        ("  models at work, loading them included", spent.items, spent.total),
        ("  libraries, reading and writing", spent.steps - spent.items, spent.total),
        ("  until a tick sees that a run has ended", spent.between, spent.total),
        ("dagster dev: new scores", spent.total, spent.total),
        ("by hand: new scores", hand.total, hand.total),
        ("  models at work, loading them included", hand.items, hand.total),
    ]
    print_table(
        ["", "seconds", "share"], [[name, f"{s:.1f}", f"{100 * s / whole:.0f} %"] for name, s, whole in rows]
    )
    print(f"dagster dev / by hand: {spent.total / hand.total:.2f}")


if __name__ == "__main__":
    main()
