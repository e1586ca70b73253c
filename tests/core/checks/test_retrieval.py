"""Prompts as in their file, and neighbours that can be used."""

import pytest

from onaspr_core.checks.retrieval import (
    every_prompt_has_neighbours,
    every_prompt_is_in_the_catalog,
    the_index_finds_the_nearest,
)
from onaspr_core.errors import UserError
from onaspr_core.retrieval.neighbours import find_neighbours, neighbours_of
from onaspr_core.settings import ReferenceSettings
from tests.core.checks.conftest import Project


def execute(project: Project, statement: str, *values: str) -> None:
    with project.open().catalog.write() as connection:
        connection.execute(statement, values)


def test_prompts_are_those_of_the_file_up_to_the_limit(project: Project) -> None:
    found = every_prompt_is_in_the_catalog(project.open(), project.e)
    assert found.passed
    assert (found.facts["in_the_file"], found.facts["in_the_catalog"]) == (3, 3)
    limited = project.e.model_copy(update={"prompt_limit": 2})
    found = every_prompt_is_in_the_catalog(project.open(), limited)
    assert not found.passed
    assert found.rows == (("00003", "not in the prompt file or benchmark"),)


def test_a_prompt_that_was_dropped_or_reworded_is_named(project: Project) -> None:
    execute(project, "delete from prompts where id = ?", "00002")
    (project.folder / "prompts.txt").write_text("a red cat sleeps\na pair of dogs run\na day at sea\n")
    found = every_prompt_is_in_the_catalog(project.open(), project.e)
    assert [name for name, _ in found.rows] == ["00002", "00003"]
    assert "1 of 3 prompts" in found.summary
    assert "materialize prompts" in found.summary


def test_a_file_or_a_catalog_without_prompts_is_told(project: Project) -> None:
    execute(project, "delete from prompts")
    with pytest.raises(UserError, match="no prompts yet"):
        every_prompt_is_in_the_catalog(project.open(), project.e)
    (project.folder / "prompts.txt").write_text("\n")
    with pytest.raises(UserError, match="holds no prompt"):
        every_prompt_is_in_the_catalog(project.open(), project.e)


def test_every_prompt_has_its_references_and_a_small_pool_is_enough(project: Project) -> None:
    workspace = project.open()
    assert every_prompt_has_neighbours(workspace, project.e).facts["references_per_prompt"] == 2
    many = project.e.model_copy(update={"references": ReferenceSettings(k=50)})
    find_neighbours(workspace, many)
    found = every_prompt_has_neighbours(workspace, many)
    assert found.passed
    assert found.facts["references_per_prompt"] == 6
    assert workspace.models.loaded == ()


def test_a_reference_too_few_is_named(project: Project) -> None:
    execute(project, "delete from neighbours where prompt_id = ? and position > 0", "00001")
    found = every_prompt_has_neighbours(project.open(), project.e)
    assert found.rows == (("00001", "1 neighbours in place of 2"),)


def test_a_neighbour_whose_clip_cannot_be_read_is_named(project: Project) -> None:
    neighbour = neighbours_of(project.open(), project.e)["00002"][0]
    execute(project, "update clips set status = 'failed' where key = ?", neighbour.clip_key)
    found = every_prompt_has_neighbours(project.open(), project.e)
    assert found.rows == (("00002", f"its neighbour {neighbour.pair_id} has no readable clip"),)


def test_a_prompt_without_any_neighbour_is_told(project: Project) -> None:
    execute(project, "delete from neighbours where prompt_id = ?", "00003")
    with pytest.raises(UserError, match="00003 among them, have no neighbours"):
        every_prompt_has_neighbours(project.open(), project.e)


def test_pools_without_an_index_are_searched_exactly(project: Project) -> None:
    found = the_index_finds_the_nearest(project.open())
    assert found.passed
    assert "no pool is large enough" in found.summary


def test_an_index_that_finds_too_little_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onaspr_core.checks.retrieval.index_recall", lambda workspace, pool: 0.985)
    found = the_index_finds_the_nearest(project.open())
    assert not found.passed
    assert found.facts["recall_at_5"] == 0.985
    assert found.rows == [("clips", "0.9850")]
    assert "the index of clips finds as little as 98.5 %" in found.summary
    assert "--exact" in found.summary
    assert the_index_finds_the_nearest(project.open(index_recall=0.985)).passed
