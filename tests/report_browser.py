"""Test the report in a real browser; run by the tox environment `browser`.

Needs Playwright, which tox installs, and a Chromium: the one that TTSI_CHROMIUM names, one on the
path, or Playwright's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from reports import CASES

from ttsi.report import write_report

SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
OPEN_ALL = """
for (const each of document.querySelectorAll("details")) {
  each.open = true;
  each.style.contentVisibility = "visible";
}
"""
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("TTSI_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = folder / "report.html"
        write_report(case(folder / "runs"), made[name])
    return made


class Watched:
    """A page with its console messages, errors and requests."""

    def __init__(self, page: Page, path: Path, fragment: str = "") -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri() + fragment)

    def overflow(self) -> int:
        """The number of pixels by which the page is wider than its window."""
        script = "document.documentElement.scrollWidth - window.innerWidth"
        return int(self.page.evaluate(script))

    def shown(self) -> int:
        return self.page.locator(".sample:visible").count()


@contextmanager
def quiet(
    browser: Browser, path: Path, size: tuple[int, int], scheme: str, opening: str
) -> Iterator[Page]:
    """Yield the page at a size and colour scheme, after the script `opening` has opened parts.

    The page has to fit before and after, without errors and requests.
    """
    width, height = size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    watched = Watched(page, path)
    assert watched.overflow() <= 0
    page.evaluate(opening)
    assert watched.overflow() <= 0
    yield page
    assert watched.complaints == []
    requests = [url for url in watched.requests if not url.startswith("data:")]
    assert requests == [path.as_uri()]
    assert page.evaluate("window.hacked") is None
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_a_page_is_quiet_and_fits(
    browser: Browser, reports: dict[str, Path], name: str, size: str, scheme: str
) -> None:
    with quiet(browser, reports[name], SIZES[size], scheme, OPEN_ALL):
        pass


def test_samples_are_filtered_and_found(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    watched = Watched(page, reports["some_errors"])
    assert watched.shown() == 12
    for tag in ("fixed", "error", "wrong", "uncertain"):
        page.locator(f".filters input[value={tag}]").check(force=True)
        assert watched.shown() == page.locator(f".sample[data-tags~={tag}]").count()
        assert "of 12 shown" in page.locator("[role=status]").inner_text() or watched.shown() == 12
    page.locator(".filters input[value=all]").check(force=True)
    page.locator("input[type=search]").fill("city7 PARIS")
    assert watched.shown() == 0
    assert page.locator(".none").is_visible()
    page.locator("input[type=search]").fill("City7")
    assert watched.shown() == 1
    page.locator("input[type=search]").fill("")
    assert watched.shown() == 12


def test_the_list_goes_by_keyboard(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    Watched(page, reports["plain"])
    page.locator(".sample > summary").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.locator(".sample").nth(1).get_attribute("open") is not None
    page.locator(".filters input[value=all]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".filters input:checked").get_attribute("value") == "fixed"


@pytest.mark.parametrize("script", [True, False])
def test_a_link_opens_its_sample(browser: Browser, reports: dict[str, Path], script: bool) -> None:
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    Watched(page, reports["seeds"], "#sample/seed-4/rows/7")
    body = page.locator('[id="sample/seed-4/rows/7"]')
    body.wait_for(state="visible")
    assert "City7" in body.inner_text()
    assert page.locator(".filters").is_visible() == script
    assert page.locator("#theme").is_visible() == script
    context.close()


def test_a_link_undoes_a_filter_that_hides_it(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page()
    watched = Watched(page, reports["all_uncertain"])
    page.locator("input[type=search]").fill("nothing like this")
    page.locator(".flips a").first.click()
    page.locator(".sample[open] .body").wait_for(state="visible")
    assert watched.shown() == 12


def test_the_theme_is_turned(browser: Browser, reports: dict[str, Path]) -> None:
    page = browser.new_page(color_scheme="light")
    Watched(page, reports["plain"])
    look = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(look)
    page.locator("#theme").click()
    dark = page.evaluate(look)
    assert light != dark
    ink = "getComputedStyle(document.querySelector('.plot text')).fill"
    assert page.evaluate(ink) != dark
    page.locator("#theme").click()
    assert page.evaluate(look) == light


@pytest.mark.parametrize("name", ["plain", "cells", "all_errors"])
def test_it_prints(browser: Browser, reports: dict[str, Path], name: str) -> None:
    page = browser.new_page(color_scheme="dark")
    Watched(page, reports[name])
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    body, plot = (page.locator(place).first for place in ("h1", ".plot .key"))
    assert plot.evaluate("(each) => getComputedStyle(each).fill") == body.evaluate(
        "(each) => getComputedStyle(each).color"
    )
    assert not page.locator(".sample").first.is_visible()


def test_a_plugins_section_can_neither_run_nor_load(browser: Browser, tmp_path: Path) -> None:
    body = "<p>mine</p><script>window.hacked = 1</script><img src='http://127.0.0.1:9/x.png'>"
    path = tmp_path / "report.html"
    write_report(CASES["plain"](tmp_path / "runs"), path, sections=[("Mine", body)])
    page = browser.new_page()
    loaded: list[str] = []
    page.on("requestfinished", lambda request: loaded.append(request.url))
    page.goto(path.as_uri())
    assert page.get_by_text("mine", exact=True).is_visible()
    assert page.evaluate("window.hacked") is None
    assert [url for url in loaded if url.startswith("http")] == []
