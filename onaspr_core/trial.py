"""A trial: one variant's videos with another eta, gamma, guidance or seed, for once.

A trial's videos are items of their own and lie in a folder of their own. It touches no row of the catalog and
is never the experiment's result. What it needs is what the experiment has: neighbours, inverted noise,
rewrites.
"""

import re
from dataclasses import dataclass, replace
from functools import partial

from onaspr_core.compute import Outcome
from onaspr_core.errors import UserError
from onaspr_core.generation import VideoItem, generate_videos, video_items
from onaspr_core.reports.files import ReportFile, report_folder, write_files
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import VIDEO
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace

LONGEST_NAME = 60


@dataclass(frozen=True)
class Trial:
    """The values that a trial replaces; None leaves the experiment's."""

    eta: float | None = None
    gamma: float | None = None
    guidance_scale: float | None = None
    seed: int | None = None

    def __bool__(self) -> bool:
        """Whether anything is replaced at all."""
        return bool(self.values)

    @property
    def values(self) -> dict[str, float]:
        """What is replaced, by name."""
        named = {name: getattr(self, name) for name in ("eta", "gamma", "guidance_scale", "seed")}
        return {name: value for name, value in named.items() if value is not None}

    def __str__(self) -> str:
        """For people and for folder names: `eta=0.9 seed=3`."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())


def trial_experiment(e: Experiment, variant: str, trial: Trial) -> Experiment:
    """Return the experiment as a trial sees it.

    Raises:
        UserError: for a value that is not allowed, and for one that the variant does not depend on.
    """
    unused = []
    if trial.eta is not None and not VARIANTS[variant].inverted_noise:
        unused.append("eta")
    if trial.gamma is not None and not VARIANTS[variant].rewritten_prompt:
        unused.append("gamma")
    if unused:
        raise UserError(f"{variant}_videos do not depend on {' or '.join(unused)}; leave it out of the trial")
    values: dict[str, object] = dict(trial.values)
    if trial.guidance_scale is not None:
        del values["guidance_scale"]
        values["sampling"] = {**e.sampling.model_dump(), "guidance_scale": trial.guidance_scale}
    return e.changed(**values)


def generate_trial(workspace: Workspace, e: Experiment, variant: str, trial: Trial) -> Outcome:
    """Make a trial's videos and put them, named by their prompts, into `facts["videos_path"]`.

    Raises:
        UserError: as `trial_experiment` and `generate_videos`.
    """
    tried = trial_experiment(e, variant, trial)
    outcome = generate_videos(workspace, tried, variant, trial=str(trial))
    items = video_items(workspace, tried, variant)
    present = workspace.store.existing(VIDEO, [item.key for item in items])
    suffix = workspace.settings.backbones[e.backbone].suffix
    files = [
        ReportFile(_name(number, item, suffix), item.key, partial(workspace.store.read, VIDEO, item.key))
        for number, item in enumerate(items, 1)
        if item.key in present
    ]
    folder = report_folder(workspace, e) / "trials" / f"{variant} {trial}"
    written = write_files("trial", folder, files, prune=True)
    return replace(
        outcome,
        failures=(*outcome.failures, *written.failures),
        facts={**outcome.facts, "trial": str(trial), "videos_path": str(folder)},
    )


def _name(number: int, item: VideoItem, suffix: str) -> str:
    """A file name that a person recognises, whatever the prompt is written in."""
    words = re.sub(r"[^\w]+", "-", item.prompt.text).strip("-")[:LONGEST_NAME].strip("-")
    return f"{number:04d} {words}{suffix}"
