"""A rewrite for every prompt, and how many are only the original."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from onaspr_core.checks.rewriting import every_prompt_has_a_rewrite, few_originals_were_kept
from onaspr_core.rewriting import client
from onaspr_core.rewriting.client import Answer
from onaspr_core.rewriting.stage import rewrite_prompts
from onaspr_core.stored_kinds import REWRITE
from tests.core.checks.conftest import Project
from tests.small_project import Enricher, models_stood_in_for


def keys(project: Project) -> dict[str, str]:
    """Content keys of the rewrites, by their originals."""
    store = project.open().store
    paths = (project.folder / "store" / "artifacts" / REWRITE).rglob("*.record.json")
    names = [path.name.removesuffix(".record.json") for path in paths]
    return {store.record(REWRITE, name)["prompt"]: name for name in names}


def test_every_prompt_has_a_rewrite_and_none_kept_its_original(project: Project) -> None:
    workspace = project.open()
    assert every_prompt_has_a_rewrite(workspace, project.e).facts["in_order"] == 3
    found = few_originals_were_kept(workspace, project.e)
    assert found.passed
    assert found.facts["originals_kept"] == 0
    assert workspace.models.loaded == ()


def test_a_rewrite_that_is_missing_or_damaged_is_told(project: Project) -> None:
    project.damage(REWRITE, keys(project)["a night at sea"])
    found = every_prompt_has_a_rewrite(project.open(), project.e)
    assert not found.passed
    assert "damaged" in found.rows[0][1]
    project.remove(REWRITE, keys(project)["a pair of dogs run"])
    found = every_prompt_has_a_rewrite(project.open(), project.e)
    assert list(found.rows) == [("00002", "no rewrite"), ("00003", "no rewrite")]
    assert "1 of 3 prompts have a rewrite" in found.summary


class Half(Enricher):
    """Says nothing but the prompt itself where that is about cats or dogs."""

    def answer(self, messages: Sequence[dict[str, str]], **given: object) -> Answer:
        asked = messages[-1]["content"].split("rewrite the sentence ")[1].split(" without changing")[0]
        return Answer(asked) if "cat" in asked or "dogs" in asked else super().answer(messages, **given)


def test_originals_that_were_kept_are_counted_by_reason(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewriter = project.e.rewriter.model_copy(update={"model": "half"})
    e = project.e.model_copy(update={"rewriter": rewriter})

    @contextmanager
    def half(_: object) -> Iterator[Half]:
        yield Half()

    with models_stood_in_for(), monkeypatch.context() as patch:
        patch.setattr(client, "open_language_model", half)
        rewrite_prompts(project.open(), e)
    assert every_prompt_has_a_rewrite(project.open(), e).passed
    found = few_originals_were_kept(project.open(), e)
    assert not found.passed
    assert "2 of 3 prompts (66.7 %)" in found.summary
    assert "2 unchanged" in found.summary
    assert found.rows == [("unchanged", "2")]
    assert few_originals_were_kept(project.open(fallback_share=0.67), e).passed
