"""The gallery's page and folder: complete, escaped, written once, nothing from outside."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

from onaspr_core import generation
from onaspr_core.evaluation.score_table import keep_scores, scores_of
from onaspr_core.prompts import ingest_prompts
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace

ADDRESSES = ("src", "href", "data-src", "poster")


class Page(HTMLParser):
    """Counts elements, collects addresses and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def written(workspace: Workspace) -> Page:
    return Page((workspace.reports_path / "e" / "index.html").read_text(encoding="utf-8"))


def test_the_page_shows_every_video_the_references_the_rewrite_and_the_scores(reported: Workspace) -> None:
    outcome = write_gallery(reported, reported.settings.experiment("e"))
    page = written(reported)
    text = " ".join(" ".join(page.texts).split())
    assert outcome.failures == ()
    assert outcome.facts["report"] == str(reported.reports_path / "e" / "index.html")
    assert (page.tags["article"], page.tags["video"]) == (2, 10)
    for shown in (
        "a bright red ball",
        "too far from the prompt",
        "0.900",
        "0.250",
        "✓ red",
        "-2.10 [-3.00, -1.25]",
    ):
        assert shown in text
    assert "10 of 50" in text


def test_every_video_carries_the_key_that_it_can_be_asked_about_by(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    page = written(reported)
    keys = {item.key for variant in VARIANTS for item in generation.video_items(reported, e, variant)}
    asked = {f"python -m onaspr_core.provenance {key}" for key in keys}
    assert len(keys) == 8 and asked <= set(page.titles)
    assert {key[:12] for key in keys} <= set(page.texts)


def test_every_address_is_a_file_beside_the_page_or_a_place_in_it(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    for address in written(reported).addresses:
        inside = address.startswith("#") or address == "data:,"
        assert inside or (reported.reports_path / "e" / address).is_file(), address
    text = (reported.reports_path / "e" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text)


def test_what_people_wrote_is_text_and_never_markup(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    page = written(reported)
    assert page.tags["script"] == 1
    assert '<script>alert(1)</script> & "a ball"' in "".join(page.texts)


def test_a_second_run_writes_nothing(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    first = write_gallery(reported, e)
    before = {path: path.stat().st_mtime_ns for path in (reported.reports_path / "e").rglob("*")}
    second = write_gallery(reported, e)
    assert (first.total, first.computed) == (8 + 1 + 1, 10)
    assert (second.computed, second.reused, second.version) == (0, 10, first.version)
    assert before == {path: path.stat().st_mtime_ns for path in (reported.reports_path / "e").rglob("*")}


def test_a_missing_video_is_shown_as_missing_and_an_old_one_is_removed(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    key = generation.video_items(reported, e, "ona")[0].key
    for path in (reported.settings.base / "data" / "store" / "artifacts").rglob(f"{key}*"):
        path.unlink()
    outcome = write_gallery(reported, e)
    page = written(reported)
    assert outcome.computed == 1
    assert page.tags["video"] == 9
    assert "materialize ona_videos" in "".join(page.texts)
    assert not (reported.reports_path / "e" / "videos" / f"{key}.mp4").exists()


def test_a_damaged_video_is_a_failure_and_the_page_is_written(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    key = generation.video_items(reported, e, "spr")[1].key
    (payload,) = (reported.settings.base / "data" / "store" / "artifacts").rglob(f"{key}*.mp4")
    payload.write_bytes(b"cut off")
    outcome = write_gallery(reported, e)
    assert [failure.item for failure in outcome.failures] == [f"videos/{key}.mp4"]
    assert written(reported).tags["article"] == 2


def test_scores_of_attributes_that_a_prompt_no_longer_has_are_not_shown(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    assert "✓ red" in "".join(written(reported).texts)
    (reported.settings.base / "prompts.jsonl").write_text(
        '{"id": "p0", "prompt": "a red ball", "size": "big"}\n'
    )
    ingest_prompts(reported, e)
    outcome = write_gallery(reported, e)
    text = "".join(written(reported).texts)
    assert outcome.failures == ()
    assert "✓" not in text
    assert "0.250" in text


def test_a_set_metric_is_called_neither_better_nor_worse(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    text = (reported.reports_path / "e" / "index.html").read_text(encoding="utf-8")
    assert '<span class="difference even">-2.10 [-3.00, -1.25]</span>' in text
    assert '<span class="difference better">+1.0 pp [+0.5, +2.0] <b>better</b></span>' in text
    assert (
        "only where the 95 % interval leaves out zero and the sign-flip test finds a difference at 5 %."
        in text
    )


def test_better_and_worse_follow_the_corrected_test_of_the_tables(reported: Workspace) -> None:
    workspace, e = reported, reported.settings.experiment("e")
    table = scores_of(workspace, e)
    right = replace(table.scores[5], p_value=0.04)
    others = [replace(right, variant=variant, p_value=0.9) for variant in ("spr", "ona_spr")]
    keep_scores(workspace, replace(table, scores=(table.scores[4], right, *others)), [])
    write_gallery(workspace, e)
    text = (workspace.reports_path / "e" / "index.html").read_text(encoding="utf-8")
    assert "<b>better</b>" not in text
    assert "corrected for three comparisons by Holm" in text
