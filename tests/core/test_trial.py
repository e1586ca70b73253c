"""What a trial may change, and what it is called."""

import math
from pathlib import Path

import pytest

from onaspr_core.errors import UserError
from onaspr_core.trial import Trial, generate_trial, trial_experiment
from onaspr_core.workspace import Workspace


def test_a_trial_replaces_what_it_names_and_nothing_else(tiny_workspace: Workspace) -> None:
    e = tiny_workspace.settings.experiment("tiny")
    tried = trial_experiment(e, "ona_spr", Trial(eta=math.inf, guidance_scale=2.0, seed=0))
    assert (tried.eta, tried.gamma, tried.seed) == (math.inf, e.gamma, 0)
    assert tried.sampling.guidance_scale == 2.0
    assert tried.sampling.steps == e.sampling.steps
    assert trial_experiment(e, "ona", Trial()) == e


def test_a_trial_of_nothing_is_none() -> None:
    assert not Trial()
    assert Trial(eta=0.0)
    assert str(Trial(eta=0.9, seed=3)) == "eta=0.9 seed=3"


@pytest.mark.parametrize(
    ("variant", "trial", "told"),
    [
        ("baseline", Trial(eta=0.9), "baseline_videos do not depend on eta"),
        ("ona", Trial(gamma=0.1), "ona_videos do not depend on gamma"),
        ("baseline", Trial(eta=0.1, gamma=0.1), "do not depend on eta or gamma"),
        ("spr", Trial(gamma=1.5), "gamma: input should be less than or equal to 1, got 1.5"),
        ("ona", Trial(eta=math.nan), "eta: input should be greater than or equal to 0, got nan"),
        ("spr", Trial(guidance_scale=0.5), "sampling.guidance_scale: .*got 0.5"),
    ],
)
def test_a_trial_that_makes_no_sense_is_refused(
    tiny_workspace: Workspace, variant: str, trial: Trial, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        trial_experiment(tiny_workspace.settings.experiment("tiny"), variant, trial)


def test_trials_of_different_values_have_different_names() -> None:
    assert str(Trial(eta=0.9, seed=1234567)) == "eta=0.9 seed=1234567"
    assert str(Trial(seed=1234567)) != str(Trial(seed=1234568))


@pytest.mark.parametrize(("fixture", "suffix"), [("tiny_workspace", "mp4"), ("image_workspace", "png")])
def test_files_are_named_by_their_prompts_and_by_what_they_are(
    fixture: str, suffix: str, request: pytest.FixtureRequest
) -> None:
    workspace: Workspace = request.getfixturevalue(fixture)
    tried = generate_trial(workspace, workspace.settings.experiment("tiny"), "baseline", Trial(seed=9))
    names = sorted(file.name for file in Path(tried.facts["videos_path"]).glob("0*"))
    assert names[:2] == [f"0001 a-red-cat.{suffix}", f"0002 two-dogs.{suffix}"]
    assert len(names) == 5
