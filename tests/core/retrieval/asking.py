"""Pools, prompts and experiments whose neighbours tests ask for."""

from collections.abc import Callable

from onaspr_core.compute import Outcome
from onaspr_core.retrieval.neighbours import neighbours_of
from onaspr_core.settings import Experiment
from onaspr_core.workspace import Workspace

Open = Callable[..., Workspace]
Ask = Callable[..., tuple[Experiment, Outcome]]
PROMPTS = {"p1": "a dog runs fast", "p2": "a blue bird"}
POOL = {"a.mp4": "a dog runs", "b.mp4": "a blue bird sings", "c.mp4": "a cat sleeps", "d.mp4": "a dog runs"}
NEAR = {f"{i}{j}.mp4": text for i, text in enumerate(PROMPTS.values()) for j in range(5)}


def captions_of(workspace: Workspace, experiment: Experiment) -> dict[str, list[str]]:
    found = neighbours_of(workspace, experiment)
    return {prompt: [reference.caption for reference in references] for prompt, references in found.items()}
