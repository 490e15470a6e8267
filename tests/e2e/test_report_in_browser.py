"""The report in a browser: what a reader clicks, types and sees.

It needs Chromium and the package playwright (``pip install -e '.[test,browser]'``), and is skipped
without.
"""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from PIL import Image

import onnxq
from onnxq.report.front import FrontPoint
from onnxq.report.html_report import html_report
from tests.report.page.deep import deep_result
from tests.report.page.evidence import result_with_evidence
from tools.models.testset import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MOST_BYTES = 5_000_000
_WATCH_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(
  ...list.getEntries().filter((e) => !e.hadRecentInput).map((e) => e.value)
)).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, _NAMES)), None)
        try:
            opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"no Chromium here: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = tmp_path_factory.mktemp("detector") / "report.html"
    # No narrow screen holds this name in one line.
    data = report.parent / ("calibration" * 10)
    shutil.copytree(MODELS / "digits_yolo" / "calibration", data)
    onnxq.optimize(
        MODELS / "digits_yolo.onnx",
        data,
        preprocess="yolo",
        output=report.with_name("yolo.onnx"),
        report=report,
        threads=1,
    )
    return report


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = tmp_path_factory.mktemp("deep") / "report.html"
    report.write_text(html_report(deep_result()), "utf-8")
    return report


def opened(browser: Browser, report: Path, scheme: Literal["light", "dark"] = "light") -> Page:
    """Opens a report offline; what the page logs fails the test."""
    page = browser.new_page(
        viewport={"width": 1280, "height": 900}, reduced_motion="reduce", color_scheme=scheme
    )
    page.context.set_offline(True)
    page.add_init_script(_WATCH_SHIFTS)
    logged: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: logged.append(message.text))
    page.on("pageerror", lambda error: logged.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    assert logged == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    return page


@pytest.fixture
def page(browser: Browser, detector: Path) -> Iterator[Page]:
    found = opened(browser, detector)
    yield found
    assert found.evaluate("window.shifts.reduce((a, b) => a + b, 0)") < 0.01
    found.context.close()


def column(page: Page, number: int) -> list[str]:
    """Texts of a column of the table of layers, of the rows in sight."""
    cells = page.locator(f"#layers-table tbody tr:not([hidden]) > :nth-child({number})")
    return cells.all_text_contents()


def colours(picture: bytes) -> int:
    """How many colours a screenshot has: a blank one has a few."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_it_is_small_and_every_section_is_drawn(page: Page, detector: Path) -> None:
    assert detector.stat().st_size < _MOST_BYTES
    links = page.locator("nav a:not(.brand)")
    assert {"Depth", "Layers", "Values", "Weights", "Detections", "Graph"} < {
        *links.all_text_contents()
    }
    for name in links.all_text_contents():
        page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        assert page.evaluate("location.hash") != ""
        if name in ("Depth", "Detections", "Graph"):
            picture = page.screenshot()
            assert Image.open(io.BytesIO(picture)).size == (1280, 900)
            assert colours(picture) > 30, name


def test_a_click_on_a_head_sorts_numbers_and_says_so(page: Page) -> None:
    head = page.get_by_role("columnheader", name="SQNR")

    head.get_by_role("button").click()
    rising = [float(text) for text in column(page, 5) if text not in ("", "exact")]
    assert head.get_attribute("aria-sort") == "ascending"
    assert rising == sorted(rising)
    head.get_by_role("button").press("Enter")
    assert column(page, 5)[0] == "exact" or column(page, 5)[0] == f"{max(rising):.1f}"
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert column(page, 1) == [str(i + 1) for i in range(len(column(page, 1)))]


def test_filters_work_together_and_tell_how_many_are_left(page: Page) -> None:
    everything = len(column(page, 1))
    page.get_by_label("Filter by name, operator or reason").fill("conv")
    page.get_by_label("Runs as").select_option("integer")
    page.get_by_label("with weights only").check()

    assert set(column(page, 3)) == {"Conv"}
    assert set(column(page, 4)) == {"integer"}
    shown = len(column(page, 1))
    assert 0 < shown < everything
    assert page.locator("#layers-count").text_content() == f"{shown} of {everything}"


def test_a_layer_shows_its_detail_histogram_and_place(page: Page) -> None:
    page.get_by_label("with weights only").check()
    page.get_by_label("Runs as").select_option("integer")
    row = page.locator("#layers-table tbody tr:not([hidden])").nth(2)
    row.click()
    name = row.locator("th").text_content() or ""
    detail = page.locator("#layer-detail")
    assert detail.locator("h3 .name").text_content() == name

    detail.get_by_role("button", name="Histogram").click()
    value = row.get_attribute("data-value")
    assert page.locator("#value-name").input_value() == value
    assert page.get_by_role("img", name=f"Histogram of {value}").is_visible()
    assert "uint8 from" in (page.locator("#value-text").text_content() or "")
    detail.get_by_role("button", name="In the graph").click()
    assert (
        page.locator(".box.chosen").get_attribute("data-row") == (row.get_attribute("id") or "")[1:]
    )
    assert page.locator(".box.chosen").evaluate("(box) => box === document.activeElement")


def test_a_value_can_be_stepped_through(page: Page) -> None:
    select = page.locator("#value-name")
    first = select.input_value()
    page.get_by_role("button", name="The value behind").click()
    assert select.input_value() != first
    page.get_by_role("button", name="The value before").click()
    assert select.input_value() == first


def test_the_graph_is_searched_and_zoomed(page: Page) -> None:
    view = page.locator("#graph-canvas")
    field = page.get_by_label("Find a node")
    field.fill("conv")
    count = page.locator("#graph-count").text_content() or ""
    assert count.startswith("1 of ")
    first = page.locator(".box.chosen").get_attribute("data-row")
    field.press("Enter")
    assert page.locator(".box.chosen").get_attribute("data-row") != first
    box, frame = page.locator(".box.chosen").bounding_box(), view.bounding_box()
    assert box is not None
    assert frame is not None
    assert frame["y"] <= box["y"] <= frame["y"] + frame["height"]
    field.fill("no such node")
    assert page.locator("#graph-count").text_content() == "none found"

    wide = float(page.locator("#graph-svg").get_attribute("width") or 0)
    page.get_by_role("button", name="Zoom in").click()
    assert float(page.locator("#graph-svg").get_attribute("width") or 0) == pytest.approx(
        1.3 * wide
    )


def test_the_graph_is_walked_by_keys_and_dragged(page: Page) -> None:
    first = page.locator("#graph-svg [tabindex='0']")
    first.focus()
    row = int(first.get_attribute("data-row") or 0)
    page.keyboard.press("ArrowDown")
    assert page.locator(".box.chosen").get_attribute("data-row") == str(row + 1)
    page.keyboard.press("ArrowUp")
    assert page.locator(".box.chosen").get_attribute("data-row") == str(row)

    view = page.locator("#graph-canvas")
    view.scroll_into_view_if_needed()
    frame = view.bounding_box()
    assert frame is not None
    before = view.evaluate("(e) => e.scrollTop")
    page.mouse.move(frame["x"] + 60, frame["y"] + 300)
    page.mouse.down()
    page.mouse.move(frame["x"] + 60, frame["y"] + 100, steps=4)
    page.mouse.up()
    assert view.evaluate("(e) => e.scrollTop") == pytest.approx(before + 200, abs=2)


def test_keys_alone_reach_the_layers(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the layers"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "layers"
    page.locator("#n1").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("tr.chosen").get_attribute("id") == "n2"


def test_the_theme_follows_the_system_until_one_is_chosen(browser: Browser, detector: Path) -> None:
    shade = "getComputedStyle(document.body).backgroundColor"
    light = opened(browser, detector, "light").evaluate(shade)
    page = opened(browser, detector, "dark")
    dark = page.evaluate(shade)
    assert light != dark
    button = page.get_by_role("button", name="Theme")
    button.click()
    assert page.evaluate(shade) == light
    button.click()
    assert page.evaluate(shade) == dark
    assert colours(page.screenshot()) > 30


def test_on_paper_nothing_is_folded_and_nothing_can_be_clicked(
    browser: Browser, detector: Path
) -> None:
    page = opened(browser, detector)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    assert not page.get_by_role("button", name="Theme").is_visible()
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("#layers-table tbody tr").last.is_visible()


def test_a_narrow_screen_does_not_scroll_sideways(browser: Browser, detector: Path) -> None:
    page = opened(browser, detector)
    page.set_viewport_size({"width": 400, "height": 800})

    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_what_only_some_runs_have_is_drawn_too(browser: Browser, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    points = (FrontPoint(4, 50, 0.5, None, 0.5, 20.0), FrontPoint(8, 90, 0.9, None, 0.1, 30.0))
    result = result_with_evidence(front=points)
    report.write_text(html_report(result), "utf-8")

    page = opened(browser, report)

    for name in ("front", "sensitivity", "lint"):
        assert page.locator(f"#{name}").is_visible()
    page.locator("#sensitivity-chart [data-row='3']").first.click()
    assert page.locator("tr.chosen").get_attribute("id") == "n3"


def test_a_thousand_nodes_can_be_read(browser: Browser, deep: Path) -> None:
    page = opened(browser, deep)

    assert deep.stat().st_size < _MOST_BYTES
    assert page.locator("#layers-table tbody tr").count() == 1000
    page.get_by_label("Find a node").fill("node_b249")
    assert page.locator("#graph-count").text_content() == "1 of 1"
    assert page.locator("#graph-canvas").evaluate("(e) => e.scrollTop") > 10_000
    assert colours(page.locator("#graph-canvas").screenshot()) > 10
    page.get_by_role("columnheader", name="Own").get_by_role("button").click()
    assert len(column(page, 1)) == 1000
