"""Prompts with neighbours, rewrites and inverted noise."""

import pytest

from onaspr_core import generation
from onaspr_core.inversion import inverted_latent_key
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.rewriting.stored import Rewrite
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT
from onaspr_core.workspace import Workspace
from tests.core.generation.inputs import PROMPTS, UNCHANGED, RecordingBackbone, inverted_of


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> RecordingBackbone:
    backbone = RecordingBackbone()
    monkeypatch.setattr(generation, "open_backbone", lambda workspace, name: backbone)
    return backbone


@pytest.fixture(autouse=True)
def before(tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours, rewrites and inverted noise, as the stages before would have left them."""
    references = {
        prompt: (Neighbour(f"pair-{prompt}", f"clip-{prompt}", f"caption of {text}", 0.9, 1),)
        for prompt, text in PROMPTS.items()
    }
    rewrites = {
        prompt: Rewrite(text if prompt == UNCHANGED else f"{text} in the sun", text, (), None, (), "test")
        for prompt, text in PROMPTS.items()
    }
    monkeypatch.setattr(generation, "noise_neighbours_of", lambda workspace, e: references)
    monkeypatch.setattr(generation, "rewrites_of", lambda *_: rewrites)
    for prompt in PROMPTS:
        key = inverted_latent_key(tiny_workspace, experiment, f"clip-{prompt}")
        tiny_workspace.store.write_tensors(INVERTED_LATENT, key, {"noise": inverted_of(prompt)}, {})
