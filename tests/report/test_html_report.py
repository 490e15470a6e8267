"""The report for a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxq.report.evidence import WeightRanges
from onnxq.report.html_report import html_report
from onnxq.report.result import FloatNode, HeavyLayer
from tests.report.page.evidence import result_with_evidence
from tests.report.samples import sample_result

if TYPE_CHECKING:
    from onnxq.report.result import Result

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


@pytest.fixture(scope="module")
def made() -> Result:
    return result_with_evidence()


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


def test_it_needs_nothing_from_outside(made: Result) -> None:
    page = html_report(made)

    assert not re.search(r"url\(|@import|<link|<base|<iframe", page)
    sources = re.findall(r"(?:src|href|action)\s*=\s*[\"']?([^\"' >]*)", page)
    assert {source.partition("/")[0] for source in sources if source[0] != "#"} == {"data:image"}
    assert set(re.findall(r"https?://[^\"' ]*", page)) == {"http://www.w3.org/2000/svg"}


def test_it_allows_itself_its_own_script_alone(made: Result) -> None:
    page = html_report(made)

    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert unescape(policy) == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


@pytest.mark.parametrize("bare", [False, True], ids=["whole", "bare"])
def test_every_link_has_its_place(made: Result, *, bare: bool) -> None:
    empty = sample_result(heavy=(), stayed_float=(), notes=(), trace=())
    page = html_report(empty if bare else made)

    ids = re.findall(r' id="([^"]*)"', page)
    assert sorted(ids) == sorted(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


def test_every_id_that_the_script_needs_exists(made: Result) -> None:
    page = html_report(made)

    ids = set(re.findall(r' id="([^"]*)"', page))
    assert set(re.findall(r'\$\("([^"]*)"\)', page)) <= ids


def test_it_has_a_section_for_all_that_was_measured(made: Result) -> None:
    sections = re.findall(r'<section id="(\w+)"', html_report(made))

    assert sections == [
        "summary",
        "done",
        "depth",
        "sensitivity",
        "layers",
        "values",
        "weights",
        "time",
        "detections",
        "graph",
        "refusals",
        "lint",
        "reproduce",
    ]


def test_without_evidence_it_has_what_other_reports_have() -> None:
    sections = re.findall(r'<section id="(\w+)"', html_report(sample_result()))

    assert sections == ["summary", "done", "layers", "refusals", "reproduce"]


def test_the_same_result_makes_the_same_page(made: Result) -> None:
    assert html_report(made) == html_report(made)


@pytest.mark.parametrize("field", ["node", "reason"])
def test_names_are_escaped(field: str) -> None:
    nasty = "<script>alert(1)</script> $title & \"'"
    values = {"node": "n", "reason": "r"} | {field: nasty}
    node = FloatNode(values["node"], "Conv", 5, values["reason"])
    layer = HeavyLayer(values["node"], "Conv", 5, integer=False)

    page = parsed(html_report(sample_result(stayed_float=(node,), heavy=(layer,))))

    assert page.tags.count("script") == 1
    assert any(nasty in text for text in page.text)


def test_names_do_not_end_the_data(made: Result) -> None:
    assert made.evidence is not None
    nasty = "</script><script>alert(1)</script>"
    ranges = np.ones(2, np.float32)
    weights = (WeightRanges(nasty, ranges, ranges, per_channel=True),)
    page = html_report(replace(made, evidence=replace(made.evidence, weights=weights)))

    assert parsed(page).tags.count("script") == 2
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["weights"][0]["name"] == nasty


def test_a_float_layer_shows_its_reason() -> None:
    row = re.findall(r"<tr>.*stem.*</tr>", html_report(sample_result()))
    assert "its range collapses" in row[0]


def test_an_empty_result_has_no_empty_tables() -> None:
    bare = sample_result(heavy=(), stayed_float=(), notes=(), trace=(), warnings=(), options={})

    # The facts, the options and the versions.
    assert parsed(html_report(bare)).tags.count("table") == 3


def test_a_float_layer_that_no_pass_gave_a_reason_says_so() -> None:
    assert "no reason given" in html_report(sample_result(stayed_float=()))


def test_colours_of_text_stand_out_in_light_and_dark(made: Result) -> None:
    """WCAG 2.1, success criterion 1.4.3: 4.5 to 1."""
    pairs = re.findall(
        r"--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\)", html_report(made).partition("</style>")[0]
    )
    colours = {name: shades for name, *shades in pairs}
    grounds = {"integer": "integer-fill", "half": "half-fill", "float": "float-fill"}
    texts = [
        ("ink", "page"),
        ("soft", "page"),
        ("soft", "panel"),
        ("good", "page"),
        ("bad", "page"),
    ]
    for text, ground in [*texts, *grounds.items(), *(("soft", fill) for fill in grounds.values())]:
        for scheme in (0, 1):
            light, dark = sorted(
                (luminance(colours[name][scheme]) for name in (text, ground)), reverse=True
            )
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground, scheme)


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2.1 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
