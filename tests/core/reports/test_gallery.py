"""The gallery's page and folder: complete, escaped, written once, nothing from outside."""

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from onaspr_core import generation
from onaspr_core.evaluation.score_table import ScoreTable, keep_scores, scores_of
from onaspr_core.prompts import ingest_prompts
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.reports.gallery_data import PromptView, chunks_of, script_call
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.reports.conftest import HOSTILE
from tests.report_files import called_with, clips_of, gallery_of, made_of

ADDRESSES = ("src", "href", "data-src", "poster")


class Page(HTMLParser):
    """Counts elements, collects addresses and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def folder_of(workspace: Workspace) -> Path:
    return Path(workspace.reports_path) / "e"


def written(workspace: Workspace) -> Page:
    return Page((folder_of(workspace) / "index.html").read_text(encoding="utf-8"))


def test_the_data_has_every_video_the_references_and_the_rewrite_and_the_page_the_scores(
    reported: Workspace,
) -> None:
    outcome = write_gallery(reported, reported.settings.experiment("e"))
    gallery, page = gallery_of(folder_of(reported)), written(reported)
    assert outcome.failures == ()
    assert outcome.facts["report"] == str(folder_of(reported) / "index.html")
    assert (gallery["experiment"], gallery["noun"], gallery["suffix"]) == ("e", "video", ".mp4")
    first, second = gallery["prompts"]
    assert (first["id"], first["text"], first["rewrite"]) == ("p0", "a red ball", "a bright red ball")
    assert "refused" not in first and second["refused"] == "too far from the prompt"
    assert [similarity for _, similarity in first["references"]] == [0.9, 0.8]
    assert [video["title"] for video in first["videos"]] == [one.title for one in VARIANTS.values()]
    assert [video.get("gain") for video in first["videos"]] == [None, 0, 0, 0]
    assert all(video["clipsim"] == 0.25 for video in first["videos"])
    assert all(video["attributes"] == [["colour", "red", True]] for video in first["videos"])
    assert "clipsim" not in second["videos"][0]
    text = " ".join(" ".join(page.texts).split())
    assert "-2.10 [-3.00, -1.25]" in text and "10 of 50" in text


def test_every_video_carries_the_key_that_it_can_be_asked_about_by(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    keys = {item.key for variant in VARIANTS for item in generation.video_items(reported, e, variant)}
    shown = [video["key"] for one in gallery_of(folder_of(reported))["prompts"] for video in one["videos"]]
    assert len(keys) == 8 and set(shown) == keys


def test_provenance_lies_in_files_of_its_own(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    experiment, number, rows = called_with(folder_of(reported) / "provenance-0000.js")
    assert (experiment, number) == ("e", 0)
    for row, prompt in zip(rows, gallery_of(folder_of(reported))["prompts"], strict=True):
        for pairs, video in zip(row, prompt["videos"], strict=True):
            assert pairs == [["key", video["key"]], ["eta", "0.5"], ["note", HOSTILE]]
    assert "note" not in (folder_of(reported) / "gallery.js").read_text()


def test_a_hundred_prompts_share_a_file_of_provenance() -> None:
    prompts = [PromptView(str(i), "text", [], None, [], None, None) for i in range(250)]
    assert [[one.id for one in chunk] for chunk in chunks_of(prompts)] == [
        [str(i) for i in range(start, end)] for start, end in ((0, 100), (100, 200), (200, 250))
    ]


def test_every_address_is_a_file_beside_the_page_or_a_place_in_it(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    assert all(address.startswith("#") or address == "data:," for address in written(reported).addresses)
    gallery = gallery_of(folder_of(reported))
    shown = {*made_of(gallery), *clips_of(gallery)}
    lying = {path.relative_to(folder_of(reported)).as_posix() for path in folder_of(reported).rglob("*.mp4")}
    assert shown == lying and len(shown) == 9
    text = (folder_of(reported) / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text.replace("http://www.w3.org/2000/svg", ""))


def test_what_people_wrote_is_text_and_never_markup(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    assert written(reported).tags["script"] == 1
    assert gallery_of(folder_of(reported))["prompts"][1]["text"] == HOSTILE


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028", "\ud800", "\r\n", "\x00", "∞", '"\\'])
def test_a_script_of_data_is_ascii_on_one_line_without_markup(text: str) -> None:
    script = script_call("f", {text: text}, 1)
    assert script.isascii() and b"<" not in script and script.count(b"\n") == 1 and script.endswith(b");\n")
    assert json.loads(f"[{script.decode()[2:-3]}]") == [{text: text}, 1]


def test_a_second_run_writes_nothing(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    first = write_gallery(reported, e)
    before = {path: path.stat().st_mtime_ns for path in folder_of(reported).rglob("*")}
    second = write_gallery(reported, e)
    assert (first.total, first.computed) == (8 + 1 + 4, 13)
    assert (second.computed, second.reused, second.version) == (0, 13, first.version)
    assert before == {path: path.stat().st_mtime_ns for path in folder_of(reported).rglob("*")}


def test_a_missing_video_is_shown_as_missing_and_an_old_one_is_removed(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    key = generation.video_items(reported, e, "ona")[0].key
    for path in (reported.settings.base / "data" / "store" / "artifacts").rglob(f"{key}*"):
        path.unlink()
    outcome = write_gallery(reported, e)
    gallery = gallery_of(folder_of(reported))
    missing = gallery["prompts"][0]["videos"][1]
    assert outcome.computed == 2, "the cards' data and the provenance"
    assert "key" not in missing and missing["missing"] == "materialize ona_videos"
    assert len(made_of(gallery)) == 7
    assert not (folder_of(reported) / "videos" / f"{key}.mp4").exists()
    assert called_with(folder_of(reported) / "provenance-0000.js")[2][0][1] == []


def test_a_damaged_video_is_a_failure_and_the_page_is_written(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    key = generation.video_items(reported, e, "spr")[1].key
    (payload,) = (reported.settings.base / "data" / "store" / "artifacts").rglob(f"{key}*.mp4")
    payload.write_bytes(b"cut off")
    outcome = write_gallery(reported, e)
    assert f"videos/{key}.mp4" in [failure.item for failure in outcome.failures]
    assert len(gallery_of(folder_of(reported))["prompts"]) == 2
    assert (folder_of(reported) / "index.html").is_file()


def test_scores_of_attributes_that_a_prompt_no_longer_has_are_not_shown(reported: Workspace) -> None:
    e = reported.settings.experiment("e")
    write_gallery(reported, e)
    (reported.settings.base / "prompts.jsonl").write_text(
        '{"id": "p0", "prompt": "a red ball", "size": "big"}\n'
    )
    ingest_prompts(reported, e)
    outcome = write_gallery(reported, e)
    (prompt,) = gallery_of(folder_of(reported))["prompts"]
    assert outcome.failures == ()
    assert not any("attributes" in video for video in prompt["videos"])
    assert prompt["videos"][0]["clipsim"] == 0.25


@pytest.mark.parametrize(
    ("notes", "told"),
    [((), "There are no scores yet; materialize the asset scores ."), (("n 0.",), "could be computed. n 0.")],
)
def test_a_page_without_scores_says_whether_scoring_was_tried(
    reported: Workspace, notes: tuple[str, ...], told: str
) -> None:
    keep_scores(reported, ScoreTable("e", 2, (), notes), [])
    write_gallery(reported, reported.settings.experiment("e"))
    assert told in " ".join(" ".join(written(reported).texts).split())


def test_a_set_metric_is_called_neither_better_nor_worse(reported: Workspace) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    text = (Path(reported.reports_path) / "e" / "index.html").read_text(encoding="utf-8")
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
    text = (Path(workspace.reports_path) / "e" / "index.html").read_text(encoding="utf-8")
    assert "<b>better</b>" not in text
    assert "corrected for three comparisons by Holm" in text
