"""The page of all experiments and studies: which it shows, written once, every text escaped."""

import json
from dataclasses import replace
from pathlib import Path

from onaspr_core import code_versions
from onaspr_core.reports.gallery import HEAD, write_gallery
from onaspr_core.reports.report import write_report
from onaspr_core.reports.study_view import StudyCell, StudyRow
from onaspr_core.workspace import Workspace
from tests.core.reports.conftest import HOSTILE
from tests.core.reports.pages import comparison, sweep
from tests.core.reports.test_gallery import Page


def page_of(workspace: Workspace) -> str:
    return (Path(workspace.reports_path) / "index.html").read_text(encoding="utf-8")


def words_of(text: str) -> str:
    return " ".join(" ".join(Page(text).texts).split())


def test_an_experiment_is_shown_once_its_gallery_is_written(reported: Workspace) -> None:
    before = write_report(reported, ())
    assert before.facts["experiments"] == 0
    assert "There is no gallery yet" in page_of(reported)
    write_gallery(reported, reported.settings.experiment("e"))
    after = write_report(reported, ())
    assert (after.facts["experiments"], after.computed, after.failures) == (1, 1, ())
    assert after.facts["report"] == str(Path(reported.reports_path) / "index.html")
    assert 'data-base="e/"' in page_of(reported)
    assert "-2.10 [-3.00, -1.25]" in words_of(page_of(reported))


def test_a_second_run_writes_nothing_and_another_study_the_page(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    first = write_report(reported, (sweep(),))
    written = (Path(reported.reports_path) / "index.html").stat().st_mtime_ns
    second = write_report(reported, (sweep(),))
    assert (first.computed, second.computed, second.version) == (1, 0, first.version)
    assert written == (Path(reported.reports_path) / "index.html").stat().st_mtime_ns
    third = write_report(reported, (sweep(), comparison()))
    assert third.computed == 1 and third.version != first.version


def test_a_gallery_of_another_version_is_not_shown_and_a_damaged_one_is_a_failure(
    reported: Workspace,
) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    file = Path(reported.reports_path) / "e" / HEAD
    whole = write_report(reported, ())
    head = json.loads(file.read_text())
    file.write_text(json.dumps({**head, "version": code_versions.GALLERY - 1}))
    other = write_report(reported, ())
    assert (other.facts["experiments"], other.failures) == (0, ())
    file.write_text("{")
    damaged = write_report(reported, ())
    assert [failure.item for failure in damaged.failures] == ["e"]
    assert "materialize gallery" in damaged.failures[0].reason
    assert damaged.total == 2 and len({whole.version, other.version, damaged.version}) == 3


def test_tables_tell_difference_verdict_and_whether_the_papers_number_compares(reported: Workspace) -> None:
    write_report(reported, (comparison(),))
    text = words_of(page_of(reported))
    assert "scvideo ONA 43.21 -1.2 [-3.4, +0.9] paper 47.5† 0.2843" in text
    assert "0.2843 +0.003 [+0.001, +0.008] better paper 0.2951 modelscope SPR none 0.1" in text
    assert "0.1 -0.1 [-0.2, -0.1] worse" in text


def test_what_studies_say_is_text_and_their_pictures_lie_inside(reported: Workspace) -> None:
    row = StudyRow(HOSTILE, (StudyCell(HOSTILE, HOSTILE, "even", HOSTILE),) * 2, HOSTILE)
    study = replace(
        comparison(),
        title=HOSTILE,
        experiment=HOSTILE,
        rows=(row,),
        columns=(HOSTILE, HOSTILE),
        notes=(HOSTILE,),
        pictures=(("http://example.com/x.png", HOSTILE), ("e/a b.svg", "inside")),
    )
    curve = replace(sweep(), curve=replace(sweep().curve, axis=HOSTILE))  # type: ignore[type-var]
    write_report(reported, (study, curve))
    page = Page(page_of(reported))
    assert page.tags["script"] == 2, "the page's own and the curve's data"
    assert page.tags["img"] == 2
    shown = [address for address in page.addresses if not address.startswith("#") and address != "data:,"]
    assert set(shown) == {"http%3A//example.com/x.png", "e/a%20b.svg"}
    assert "".join(page.texts).count("<script>alert(1)</script>") >= 11
