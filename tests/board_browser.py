"""Test the page of boards in a real browser; run by the tox environment `browser`.

Needs a Chromium, as report_browser.py does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import entry, hostile, many, partial
from playwright.sync_api import Browser, Page
from report_browser import Watched, browser, quiet

from ttsi.leaderboard.boards import boards
from ttsi.leaderboard.render import publish

__all__ = ["browser"]

SIZES = {"wide": (1280, 900), "tablet": (820, 1180), "narrow": (390, 844)}
CASES = {
    "many": [entry(number) for number in range(1000)],
    "several": [*many(60), partial(70)],
    "hostile": hostile(),
    "one": [entry(3)],
    "partial": [partial(3)],
    "none": [],
}
OPEN_SOME = """
for (const each of [...document.querySelectorAll(".board:not([hidden]) .toggle")].slice(0, 20)) {
  each.click();
}
"""
# Relative luminance and contrast (WCAG 2.2) of every text against its background.
FAINT = """
() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const known = new Map([[null, [255, 255, 255]]]);
  const behind = (each) => {
    if (!known.has(each)) {
      const own = rgb(getComputedStyle(each).backgroundColor);
      known.set(each, own[3] === 0 ? behind(each.parentElement) : own);
    }
    return known.get(each);
  };
  const found = new Set();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const each = node.parentElement;
    if (!node.data.trim() || !each.checkVisibility()) continue;
    const [a, b] = [rgb(getComputedStyle(each).color), behind(each)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return [...found];
}
"""


def place(benchmark: str, number: int | None = None) -> str:
    """Return the id of a board of `several`, or of one of its entries."""
    (board,) = (each for each in boards(CASES["several"]) if each.ground.benchmark == benchmark)
    if number is None:
        return board.key
    return f"{board.key}/{CASES['several'][number]['path'].removeprefix('submissions/')}"


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, entries in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        publish(folder, entries)
        made[name] = folder / "index.html"
    return made


def column(page: Page, key: str) -> list[str]:
    """Return the texts in a column of the visible board, from the top."""
    cells = page.locator(f".board:visible tbody .c-{key}")
    return [text.splitlines()[0] for text in cells.all_inner_texts()]


def head(page: Page, key: str) -> str:
    return f".board:visible th[data-key={key}] button"


def status(page: Page) -> str:
    return page.locator("[role=status]").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_a_page_is_quiet_fits_and_can_be_read(
    browser: Browser, pages: dict[str, Path], name: str, size: str, scheme: str
) -> None:
    with quiet(browser, pages[name], SIZES[size], scheme, OPEN_SOME) as page:
        assert page.evaluate(FAINT) == []


def test_a_thousand_entries_are_sorted_and_filtered(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = browser.new_page()
    Watched(page, pages["many"])
    assert status(page) == "1,000 entries, by rank, best first"
    assert len(column(page, "rank")) == 100
    page.locator(head(page, "difference")).click()
    by_gain = sorted(CASES["many"], key=lambda each: -each["difference"]["mean"])
    shown = [f"{100 * each['difference']['mean']:+.1f}" for each in by_gain]
    assert column(page, "difference") == [text.replace("-", "−") for text in shown[:100]]
    page.locator(head(page, "difference")).click()
    assert column(page, "difference") == [text.replace("-", "−") for text in shown[:-101:-1]]
    page.locator("select[name=engine]").select_option("vllm")
    page.locator("input[name=text]").fill("  QWEN h200 ")
    fitting = [
        each
        for each in CASES["many"]
        if each["engine"] == "vllm" and "Qwen" in each["model"] and "H200" in each["hardware"]
    ]
    assert status(page) == f"{len(fitting)} of 1,000 entries, by difference, lowest first"
    assert len(column(page, "rank")) == len(fitting)
    assert set(column(page, "engine")) == {"vllm"}
    page.locator("button[name=clear]").click()
    assert status(page) == "1,000 entries, by difference, lowest first"
    page.locator(".rest:visible").click()
    assert len(column(page, "rank")) == 1000
    focused = "[...document.querySelectorAll('.toggle')].indexOf(document.activeElement)"
    assert page.evaluate(focused) == 100
    page.close()


def test_every_column_sorts_both_ways(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    watched = Watched(page, pages["several"], f"#{place('sealtool')}")
    keys = page.locator(".board:visible th[data-key]").evaluate_all(
        "(heads) => heads.map((head) => head.dataset.key)"
    )
    assert len(keys) == 12
    for key in keys:
        seen = []
        for _ in range(2):
            page.locator(head(page, key)).click()
            sorted_by = page.locator(".board:visible th[aria-sort]")
            assert sorted_by.get_attribute("data-key") == key
            cells = column(page, key)
            known = [text for text in cells if text != "–"]
            assert cells == known + ["–"] * (len(cells) - len(known))
            seen.append((sorted_by.get_attribute("aria-sort"), known))
        assert {direction for direction, _ in seen} == {"ascending", "descending"}
        assert seen[0][1] == seen[1][1][::-1] or len(set(seen[0][1])) < len(seen[0][1])
    assert watched.complaints == []
    page.close()


def test_it_goes_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    Watched(page, pages["several"], f"#{place('sealtool')}")
    page.locator("nav a").last.focus()
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.name"))
    assert names == ["text", "model", "method", "engine"]
    page.locator(head(page, "seconds")).focus()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort]:visible").get_attribute("data-key") == "seconds"
    assert page.locator("th[aria-sort]:visible").get_attribute("aria-sort") == "ascending"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort]:visible").get_attribute("aria-sort") == "descending"
    toggle = page.locator(".toggle:visible").first
    toggle.focus()
    page.keyboard.press("Enter")
    assert toggle.get_attribute("aria-expanded") == "true"
    assert page.locator(".more:visible").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.more') !== null")
    page.close()


def test_what_is_seen_can_be_linked_to(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    Watched(page, pages["several"], f"#{place('toolalpaca')}")
    assert page.locator(".board:visible").get_attribute("id") == place("toolalpaca")
    assert page.locator("nav a[aria-current]").inner_text().startswith("toolalpaca")
    page.locator("nav a", has_text="sealtool").click()
    page.locator("select[name=engine]").select_option("vllm")
    page.locator("input[name=text]").fill("tt-si & more? #1%")
    page.locator(head(page, "tokens")).click()
    said, link = status(page), page.url
    again = browser.new_page()
    again.goto(link)
    assert status(again) == said
    assert again.locator("input[name=text]").input_value() == "tt-si & more? #1%"
    page.locator("nav a", has_text="apibank").click()
    assert page.locator("select[name=engine]").input_value() == "vllm"
    page.close()
    again.close()


@pytest.mark.parametrize("script", [True, False])
def test_a_link_leads_to_its_entry(browser: Browser, pages: dict[str, Path], script: bool) -> None:
    id = place(CASES["several"][7]["benchmark"], 7)
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    Watched(page, pages["several"], f"#{id}")
    details = page.locator(f'[id="{id}"] .more')
    assert details.is_visible()
    assert CASES["several"][7]["spec_digest"] in details.inner_text()
    assert page.locator(".filters").is_visible() == script
    assert (page.locator(".toggle:visible").count() > 0) == script
    assert page.locator(".board:visible").count() == (1 if script else 4)
    context.close()


def test_a_link_leads_to_an_entry_far_down(browser: Browser, pages: dict[str, Path]) -> None:
    last = min(CASES["many"], key=lambda each: each["accuracy"]["mean"])
    (board,) = boards(CASES["many"])
    id = f"{board.key}/{last['path'].removeprefix('submissions/')}"
    page = browser.new_page()
    Watched(page, pages["many"], f"#{id}")
    assert page.locator(f'[id="{id}"] .more').is_visible()
    page.close()


def test_nothing_fits_and_links_that_lead_nowhere(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    watched = Watched(page, pages["several"], "#no-such-board?engine=none&sort=nothing&text=zzzz")
    assert page.locator(".none:visible").count() == 1
    assert status(page) == "0 of 10 entries, by rank, best first"
    page.goto(f"{pages['several'].as_uri()}#%E0%A4%A")
    assert watched.complaints == []
    page.close()


def test_a_phone_sorts_by_the_list(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    Watched(page, pages["several"], f"#{place('sealtool')}")
    assert not page.locator(head(page, "seconds")).is_visible()
    page.locator("select[name=sort]").select_option("-seconds")
    assert status(page).endswith("by s / sample, highest first")
    page.close()


def test_it_prints_all_that_fits_in_light(browser: Browser, pages: dict[str, Path]) -> None:
    page = browser.new_page(color_scheme="dark")
    watched = Watched(page, pages["many"])
    assert page.pdf(format="A4", landscape=True).startswith(b"%PDF")
    assert len(column(page, "rank")) == 1000
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1040})
    assert watched.overflow() <= 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".filters").is_visible()
    page.close()
