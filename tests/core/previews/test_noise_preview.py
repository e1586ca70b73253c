"""The preview of inverted noise is drawn once for what it shows."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onaspr_core import code_versions, inversion
from onaspr_core.errors import UserError
from onaspr_core.inversion import invert_clips, inverted_latent_key
from onaspr_core.previews import noise_figure, noise_preview
from onaspr_core.retrieval.neighbours import Neighbour
from onaspr_core.settings import Experiment
from onaspr_core.stored_kinds import INVERTED_LATENT, NOISE_PREVIEW
from onaspr_core.workspace import Workspace

BORROWED = {
    f"{i:05}": (Neighbour(f"pair-{name}", f"clip-{name}", f"caption {name}", 0.9, 1),)
    for i, name in enumerate("abc", 1)
}


def read(workspace: Workspace, key: str) -> np.ndarray:
    """A grey clip, its own for each name."""
    return np.full((3, 16, 16, 3), ord(key[-1]), np.uint8)


def read_all_but_b(workspace: Workspace, key: str) -> np.ndarray:
    if key == "clip-b":
        raise UserError("truncated")
    return read(workspace, key)


@pytest.fixture
def experiment(tiny_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setattr(inversion, "noise_neighbours_of", lambda *_: BORROWED)
    monkeypatch.setattr(inversion, "read_clip", read)
    monkeypatch.setattr(inversion, "read_clip_at", lambda workspace, key, place: read(workspace, key))
    return tiny_workspace.settings.experiment("tiny")


def test_a_second_materialization_reads_no_latent_and_draws_nothing(
    tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = invert_clips(tiny_workspace, experiment).preview
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "onaspr_core.previews.noise_figure", None)
        with pytest.raises(ImportError):
            invert_clips(tiny_workspace, experiment.changed(sampling={"steps": 3}))
        for name in ("read_inverted", "read_clip"):
            without.setattr(inversion, name, lambda *_: pytest.fail("a payload was read"))
        assert invert_clips(Workspace(tiny_workspace.settings), experiment).preview == first


@pytest.fixture
def drawn(tiny_workspace: Workspace, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Everything inverted and one preview kept; then, the number of clips of each that is drawn."""
    invert_clips(tiny_workspace, experiment)
    counted: list[int] = []
    draw = noise_figure.noise_preview

    def drawing(noises: Any, named: Any, clips: Any, labels: Any) -> Any:
        counted.append(len(clips))
        return draw(noises, named, clips, labels)

    monkeypatch.setattr(noise_figure, "noise_preview", drawing)
    return counted


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"00001": Neighbour("pair-a", "clip-a", "another caption", 0.9, 1)},
        {"00001": Neighbour("pair-x", "clip-a", "caption a", 0.9, 1)},
        {"00001": Neighbour("pair-a", "clip-d", "caption a", 0.9, 1)},
        {"00003": Neighbour("pair-d", "clip-d", "caption d", 0.9, 1)},
    ],
)
def test_a_preview_is_drawn_anew_when_what_it_shows_changes(
    tiny_workspace: Workspace,
    experiment: Experiment,
    drawn: list[int],
    change: dict[str, Neighbour],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {**BORROWED, **{prompt: (one,) for prompt, one in change.items()}}
    monkeypatch.setattr(inversion, "noise_neighbours_of", lambda *_: found)
    for _ in range(2):
        invert_clips(tiny_workspace, experiment)
    assert drawn == ([len({one.clip_key for [one] in found.values()})] if change else [])


def test_another_version_of_the_drawing_or_of_its_library_draws_anew(
    tiny_workspace: Workspace, experiment: Experiment, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_versions, "NOISE_PREVIEW", 99)
    invert_clips(tiny_workspace, experiment)
    monkeypatch.setattr(noise_preview, "library_versions", lambda *names: dict.fromkeys(names, "99"))
    invert_clips(tiny_workspace, experiment)
    assert drawn == [3, 3]


def test_a_preview_without_what_cannot_be_read_is_not_kept(
    tiny_workspace: Workspace, experiment: Experiment, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_workspace.store
    [whole] = store.keys(NOISE_PREVIEW)
    store.delete(NOISE_PREVIEW, whole)
    damaged = Path(store.url(INVERTED_LATENT, inverted_latent_key(tiny_workspace, experiment, "clip-a")))
    damaged.write_bytes(b"damaged")
    shown = invert_clips(tiny_workspace, experiment).preview
    assert shown is not None and store.keys(NOISE_PREVIEW) == []
    with monkeypatch.context() as without:
        without.setattr(inversion, "read_clip", read_all_but_b)
        invert_clips(tiny_workspace, experiment)
    assert store.keys(NOISE_PREVIEW) == [] and drawn == [3, 2]
    again = invert_clips(tiny_workspace, experiment).preview
    assert again is not None and again.png != shown.png and len(store.keys(NOISE_PREVIEW)) == 1


def test_a_damaged_preview_is_drawn_again(
    tiny_workspace: Workspace, experiment: Experiment, drawn: list[int]
) -> None:
    [key] = tiny_workspace.store.keys(NOISE_PREVIEW)
    kept = tiny_workspace.store.read(NOISE_PREVIEW, key)
    Path(tiny_workspace.store.url(NOISE_PREVIEW, key)).write_bytes(b"damaged")
    again = invert_clips(tiny_workspace, experiment).preview
    assert again is not None and again.png == kept == tiny_workspace.store.read(NOISE_PREVIEW, key)
    assert drawn == [3]
