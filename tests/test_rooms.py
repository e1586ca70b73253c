"""The walls of the house: who may import whom, and what loading the definitions costs."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onaspr_core.errors import PlainError, StoreError, UserError

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "diffusers", "transformers", "sentence_transformers")


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


CORE_FILES = sorted((ROOT / "onaspr_core").rglob("*.py"))


@pytest.mark.parametrize("file", CORE_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_core_never_imports_dagster_or_the_assets(file: Path) -> None:
    assert not {name for name in imported(file) if name.split(".")[0] in {"dagster", "onaspr_assets"}}


def test_the_assets_hold_no_method() -> None:
    for file in (ROOT / "onaspr_assets").rglob("*.py"):
        assert not {
            name for name in imported(file) if name.split(".")[0] in {*HEAVY, "numpy", "duckdb", "lancedb"}
        }


def caught_to_be_shown(file: Path) -> Iterator[str]:
    """What is caught by name where its text is printed to the error stream."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler) and node.type and "file=sys.stderr" in ast.unparse(node):
            yield ast.unparse(node.type)


def test_commands_show_every_error_that_is_for_people() -> None:
    shown = {str(file.relative_to(ROOT)): list(caught_to_be_shown(file)) for file in CORE_FILES}
    caught = {file: names for file, names in shown.items() if names}
    assert len(caught) > 5 and issubclass(StoreError, PlainError) and not issubclass(StoreError, UserError)
    assert not {file: names for file, names in caught.items() if "PlainError" not in names}


def test_loading_the_definitions_imports_no_model_library() -> None:
    code = (
        "import sys, json; sys.path.insert(0, '.'); import definitions; definitions.defs(); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}
    assert "onaspr_assets" in loaded
    assert not loaded.intersection({*HEAVY, "lancedb", "matplotlib", "openai", "xllamacpp"})
