"""The words of a finding, and the settings that decide when a person should look."""

import pytest

from onaspr_core.checks.finding import every, listed
from onaspr_core.errors import UserError
from onaspr_core.parameters import contents
from onaspr_core.settings import load_settings
from tests.core.checks.conftest import Project


def test_a_finding_says_how_many_which_why_and_what_to_do() -> None:
    assert every("prompts have a video", 4, [], "materialize videos").summary == "all 4 prompts have a video"
    problems = [("a", "no video"), ("b", "torn")]
    found = every("prompts have a video", 4, problems, "materialize videos", shape="16 × 16")
    assert found.summary == "2 of 4 prompts have a video, all but a, b (no video); materialize videos"
    assert found.facts == {"looked_at": 4, "in_order": 2, "shape": "16 × 16"}
    assert found.rows == (("a", "no video"), ("b", "torn"))


def test_of_many_names_three_are_said() -> None:
    assert listed(["a", "b", "c"]) == "a, b, c"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_limits_of_checks_are_settings_that_move_no_version(project: Project) -> None:
    file = project.folder / "settings.toml"
    before = contents(load_settings(file))
    file.write_text(file.read_text() + "[checks]\nfallback_share = 0.9\nnoise_variance = 4\n")
    settings = load_settings(file)
    assert (settings.checks.fallback_share, settings.checks.noise_variance) == (0.9, 4.0)
    assert contents(settings) == before


@pytest.mark.parametrize(
    "line", ["fallback_share = 1.5", "noise_variance = 1.0", "noise_mean = 0.0", "x = 1"]
)
def test_limits_without_a_meaning_are_mistakes(project: Project, line: str) -> None:
    file = project.folder / "settings.toml"
    file.write_text(file.read_text() + f"[checks]\n{line}\n")
    with pytest.raises(UserError, match=f"checks.{line.split()[0]}"):
        load_settings(file)
