"""The command as a person types it."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from onaspr_core.provenance.__main__ import as_text, main
from onaspr_core.provenance.answer import provenance_of
from onaspr_core.workspace import Workspace
from tests.core.provenance.world import reopened

IMPORTS = """
import sys
from onaspr_core.provenance.__main__ import main
assert main(sys.argv[1:]) == 0
print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def settings_of(workspace: Workspace) -> list[str]:
    return ["--settings", str(workspace.settings.base / "settings.toml")]


def test_people_read_sections_of_aligned_lines(world: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny/ona_spr/p2", *settings_of(world)]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line for line in lines if line and not line.startswith(" ")]
    assert titles == ["video", "prompt", "noise", "rewriting", "sampling", "software"]
    told = {line.strip().split("  ")[0]: line for line in lines if "  " in line.strip()}
    assert told["caption"].endswith("  a small dog runs fast")
    assert told["steps"].endswith("  4") and told["lost content"].endswith("  1")
    assert told["contentUrl"].endswith("  https://clips.test/0002")
    assert len({line.rindex("  ") for line in told.values()}) == 1
    assert "None" not in "".join(lines)


def test_what_was_not_used_is_none_and_notes_come_last(world: Workspace) -> None:
    plain = as_text(provenance_of(world, "tiny/baseline/p1"))
    assert "\nrewriting\n  none\n" in plain and "neighbour" not in plain and "notes" not in plain
    shared = as_text(provenance_of(world, "tiny/spr/p3"))
    assert shared.splitlines()[-1] == "  It was first made as tiny/baseline/p3, and its record is of that."


def test_json_holds_the_whole_answer_also_at_infinite_eta(
    world: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    from onaspr_core.generation import generate_videos

    endless = reopened(world, ("^eta = .*", "eta = inf"))
    generate_videos(endless, endless.settings.experiment("tiny"), "ona")
    capsys.readouterr()
    assert main(["tiny/ona/p1", "--json", *settings_of(endless)]) == 0
    answer = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert answer == json.loads(json.dumps(asdict(provenance_of(endless, "tiny/ona/p1"))))
    assert answer["noise"]["eta"] == "inf"


def test_an_error_is_a_sentence_on_standard_error(
    world: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny/p1", *settings_of(world)]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("prompt p1 has several videos; say which:")


def test_the_command_loads_no_model_library(world: Workspace) -> None:
    words = [sys.executable, "-c", IMPORTS, "tiny/ona_spr/p1", *settings_of(world)]
    run = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = set(run.stderr.split())
    assert "duckdb" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "sentence_transformers", "lancedb", "openai"}
