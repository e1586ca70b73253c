"""The report in a headless Chromium, opened from disk: it plays, filters, and asks nothing of the network."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect, sync_playwright

from onaspr_core.evaluation.score_table import ScoreTable
from onaspr_core.reports.gallery import write_gallery
from onaspr_core.reports.report import write_report
from onaspr_core.variants import VARIANTS
from onaspr_core.workspace import Workspace
from tests.core.reports.conftest import HOSTILE
from tests.core.reports.pages import gain, sweep, view_of, write_all, write_folder

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a file; in the end no page may have asked for anything outside or told of an error."""
    asked: list[str] = []
    told: list[str] = []
    contexts = []

    def dismiss(dialog: Dialog) -> None:
        told.append(dialog.message)
        dialog.dismiss()

    def opened(file: Path, fragment: str = "", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda problem: told.append(str(problem)))
        page.on("dialog", dismiss)
        page.goto(f"{file.as_uri()}{fragment}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert asked and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert told == []


@pytest.fixture
def small(tmp_path: Path, table: ScoreTable) -> Path:
    """The page of a gallery of thirty prompts."""
    return write_folder(tmp_path / "reports", view_of("small", 30, table))


@pytest.fixture
def several(tmp_path: Path, table: ScoreTable) -> Path:
    """The page over two experiments and two studies."""
    first, second = view_of("first", 6, table), view_of("an other", 4, table)
    return write_all(tmp_path / "reports", [first, replace(second, summary="Of the other.")])


def in_step(videos: int, low: float, high: float = 2.0) -> str:
    """Whether so many videos of the first card run, all between two times and close to each other."""
    return f"""(() => {{
      const card = [...document.querySelector(".card").querySelectorAll("video")];
      const running = card.filter((video) => !video.ended && !video.paused && video.readyState >= 3);
      const times = running.map((video) => video.currentTime);
      const [first, last] = [Math.min(...times), Math.max(...times)];
      return running.length === {videos} && first > {low} && last < {high} && last - first < 0.2;
    }})()"""


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own waiting is refused by the page's security policy."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"{expression} did not come true"
        page.wait_for_timeout(30)


def titles(page: Page) -> list[str]:
    return [title.removeprefix("prompt number ") for title in page.locator(".card h3").all_text_contents()]


def test_the_videos_of_a_card_load_and_advance_in_step(small: Path, open_page: Open) -> None:
    page = open_page(small)
    page.locator(".card").first.scroll_into_view_if_needed()
    until(page, in_step(5, 0.1))
    until(page, in_step(4, 1.6))  # the neighbour's clip has ended and waits
    until(page, in_step(5, 0.05, 0.9))
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")


def test_search_filters_and_sort_choose_prompts(small: Path, open_page: Open) -> None:
    page = open_page(small)
    count = page.locator("#count")
    expect(count).to_have_text("30 prompts")
    page.fill("#search", "NUMBER rewrite 7")
    expect(count).to_have_text("3 of 30")
    assert titles(page) == ["7", "17", "27"]
    page.fill("#search", "no such words")
    expect(page.locator("#nothing")).to_be_visible()
    page.click("#reset")
    expect(count).to_have_text("30 prompts")
    numbers = range(30)
    for variant in (1, 2, 3):
        page.select_option("#sort", f"gain {list(VARIANTS)[variant]}")
        ranked = sorted(numbers, key=lambda i: -gain(i, variant))
        assert titles(page)[:20] == [str(i) for i in ranked[:20]]
    page.select_option("#sort", "order")
    for chosen, wanted in {
        "gained": [i for i in numbers if gain(i, 3) > 0],
        "lost": [i for i in numbers if gain(i, 3) < 0],
        "fixed": [i for i in numbers if i % 2 == 0],
        "broken": [i for i in numbers if i % 2 == 1],
        "rewritten": [i for i in numbers if i % 3],
        "fallback": [i for i in numbers if i % 3 == 0],
        "missing": [29],
    }.items():
        page.select_option("#filter", chosen)
        expect(count).to_have_text(f"{len(wanted)} of 30")
        assert titles(page) == [str(i) for i in wanted], chosen
    expect(page.locator(".card .absent")).to_have_text("no videomaterialize ona_videos")


def test_a_variants_box_hides_its_videos_and_the_others_play_on(small: Path, open_page: Open) -> None:
    page = open_page(small)
    page.wait_for_selector(".card")
    page.uncheck("[name=variant][value=spr]")
    page.select_option("#filter", "gained")
    card = page.locator(".card").first
    assert card.locator("figure:visible .name").all_text_contents() == [
        "Baseline",
        "ONA",
        "ONA + SPR",
        "Neighbour",
    ]
    card.scroll_into_view_if_needed()
    assert page.locator("figure.spr video[src]").count() == 0
    until(page, "document.querySelector('figure.ona video').currentTime > 0.2")
    page.check("[name=variant][value=spr]")
    until(page, in_step(5, 0.2))


def test_the_chooser_changes_scores_settings_and_videos(several: Path, open_page: Open) -> None:
    page = open_page(several)
    expect(page.locator("#count")).to_have_text("6 prompts")
    page.select_option("#experiment", "an other")
    expect(page.locator("#count")).to_have_text("4 prompts")
    expect(page.get_by_text("Of the other.")).to_be_visible()
    assert page.locator(".experiment:visible").count() == 1
    page.locator(".card").first.scroll_into_view_if_needed()
    until(page, in_step(5, 0.1))
    page.locator(".card .id").nth(2).click()
    page.reload()
    expect(page.locator("#experiment")).to_have_value("an other")
    expect(page.locator("#prompt-3")).to_be_focused()


def test_a_plot_answers_pointer_and_keys_and_shows_the_papers_points_when_asked(
    several: Path, open_page: Open
) -> None:
    page = open_page(several)
    fid = page.locator(".plot").first
    points, readout = fid.locator(".point"), fid.locator(".readout")
    assert points.count() == 2
    points.nth(1).hover()
    expect(readout).to_contain_text("η 0.5: FID 38.50; difference to η 0 -1.50")
    points.nth(0).focus()
    expect(readout).to_contain_text("η 0: FID 40.00; n 200")
    page.keyboard.press("ArrowRight")
    expect(points.nth(1)).to_be_focused()
    expect(readout).to_contain_text("95 % interval [-3.00, +0.25]")
    assert points.nth(1).get_attribute("aria-label") == readout.text_content()
    page.keyboard.press("Home")
    expect(points.nth(0)).to_be_focused()
    assert fid.locator(".paper-line, .paper-dot").count() == 0
    page.get_by_label("the paper's numbers").check()
    assert page.locator(".paper-dot").count() == 2
    expect(fid.locator("figcaption")).to_contain_text("the paper's, not comparable")


def test_provenance_is_read_when_asked_and_hostile_texts_do_nothing(
    reported: Workspace, open_page: Open
) -> None:
    write_gallery(reported, reported.settings.experiment("e"))
    write_report(reported, (replace(sweep(), title=HOSTILE, notes=(HOSTILE,)),))
    for page in (
        open_page(Path(reported.reports_path) / "index.html"),
        open_page(Path(reported.reports_path) / "e" / "index.html"),
    ):
        card = page.locator(".card").nth(1)
        expect(card.locator("h3")).to_have_text(HOSTILE)
        for details in card.locator("summary").all():
            details.click()
        expect(card.locator(".provenance dd").nth(2)).to_have_text(HOSTILE)
        expect(card.locator(".provenance h4")).to_have_text([one.title for one in VARIANTS.values()])
        assert card.locator("script, img").count() == 0
        code = card.locator("code.made").first
        assert (code.get_attribute("title") or "").startswith("python -m onaspr_core.provenance 01aaa")


def test_three_thousand_prompts_hold_few_videos(tmp_path: Path, table: ScoreTable, open_page: Open) -> None:
    page = open_page(write_folder(tmp_path, view_of("many", 3000, table)))
    expect(page.locator("#count")).to_have_text("3,000 prompts")
    assert page.locator(".card").count() < 100
    most = 0
    for _ in range(12):
        page.evaluate("window.scrollTo(0, document.scrollingElement.scrollHeight)")
        page.wait_for_timeout(100)
        most = max(most, page.locator("video[src]").count())
    assert 0 < most < 200
    assert 150 < page.locator(".card").count() < 1000
    page.select_option("#sort", "gain ona_spr")
    best = max(range(3000), key=lambda i: gain(i, 3))
    assert titles(page)[0] == str(best)
    page.fill("#search", "number 2999")
    expect(page.locator("#count")).to_have_text("1 of 3,000")
    page.locator("details.made-from summary").click()
    expect(page.locator(".provenance dd").first).to_have_text("p2999 baseline")


def test_a_link_to_a_late_prompt_builds_its_card(tmp_path: Path, table: ScoreTable, open_page: Open) -> None:
    page = open_page(write_folder(tmp_path, view_of("many", 300, table)), "#prompt-250")
    expect(page.locator("#prompt-250")).to_be_focused()
    expect(page.locator("#prompt-250")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phones_page_does_not_scroll_sideways(several: Path, open_page: Open, scheme: str) -> None:
    page = open_page(several, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.wait_for_selector(".card")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    wide = page.locator(".experiment:visible .scroll")
    assert wide.evaluate("(one) => one.scrollWidth > one.clientWidth")


def test_keys_alone_lead_everywhere(several: Path, open_page: Open) -> None:
    page = open_page(several)
    page.wait_for_selector(".card")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#prompts")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("3")
    expect(page.locator("#count")).to_have_text("1 of 6")
    unnamed = "(all) => all.filter((one) => !one.labels?.length && !one.textContent.trim()).length"
    assert page.locator("input, select, button").evaluate_all(unnamed) == 0


def test_who_wants_less_motion_sees_videos_paused(small: Path, open_page: Open) -> None:
    page = open_page(small, reduced_motion="reduce")
    page.locator(".card").first.scroll_into_view_if_needed()
    until(page, "document.querySelector('.card video').readyState >= 3")
    expect(page.locator("#play")).to_have_text("Play")
    assert page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")
    page.click("#play")
    until(page, in_step(5, 0.1))


def test_without_script_the_scores_stand_and_the_page_says_what_is_needed(
    several: Path, open_page: Open
) -> None:
    page = open_page(several, java_script_enabled=False)
    assert page.locator("table.scores:visible").count() == 2
    expect(page.locator("noscript p")).to_contain_text("needs JavaScript")
    assert page.locator("noscript p").is_visible()
    assert not page.locator("#search").is_visible()


def test_images_are_pictures_and_their_neighbours_stand_still(pictured: Workspace, open_page: Open) -> None:
    write_gallery(pictured, pictured.settings.experiment("e"))
    write_report(pictured, ())
    for file in ("e/index.html", "index.html"):
        page = open_page(Path(pictured.reports_path) / file)
        page.locator(".card").first.scroll_into_view_if_needed()
        until(page, "document.querySelector('.neighbour video').readyState >= 2")
        until(page, "document.querySelector('.card img').naturalWidth === 16")
        assert page.locator(".card").first.locator("img").count() == 4
        assert page.evaluate("document.querySelector('.neighbour video').currentTime") == 0
        expect(page.locator("#prompts-title")).to_have_text("Images")
        assert page.locator("#play").count() == 0
