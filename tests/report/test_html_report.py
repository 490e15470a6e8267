"""The report for a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from onnxq.report.html_report import html_report
from onnxq.report.result import FloatNode, HeavyLayer
from tests.report.samples import sample_result

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Nesting(HTMLParser):
    """Collects text, and fails on a tag that closes what is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(page: str) -> Nesting:
    parser = Nesting()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_it_is_well_formed_and_holds_the_facts() -> None:
    text = " ".join(parsed(html_report(sample_result())).text)

    for part in ("net.onnx", "2.71 MB → 840 kB", "31.2 dB", "450 M", "keep-float", "bn_1"):
        assert part in text


def test_it_needs_nothing_from_outside() -> None:
    page = html_report(sample_result())

    assert not re.search(r"(?:src|href)\s*=|url\(|@import|https?:", page)
    assert "script" not in parsed(page).tags


def test_it_follows_the_readers_light_or_dark() -> None:
    assert "prefers-color-scheme: dark" in html_report(sample_result())


@pytest.mark.parametrize("field", ["node", "reason"])
def test_names_are_escaped(field: str) -> None:
    nasty = "<script>alert(1)</script> $title & \"'"
    values = {"node": "n", "reason": "r"} | {field: nasty}
    node = FloatNode(values["node"], "Conv", 5, values["reason"])
    layer = HeavyLayer(values["node"], "Conv", 5, integer=False)

    page = parsed(html_report(sample_result(stayed_float=(node,), heavy=(layer,))))

    assert "script" not in page.tags
    assert any(nasty in text for text in page.text)


def test_a_float_layer_shows_its_reason() -> None:
    assert "float: its range collapses" in html_report(sample_result())


def test_an_empty_result_has_no_empty_tables() -> None:
    bare = sample_result(heavy=(), stayed_float=(), notes=(), trace=(), warnings=(), options={})

    assert parsed(html_report(bare)).tags.count("table") == 1
