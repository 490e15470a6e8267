"""Hooks of mkdocs.

``<!-- output: onnxq WORDS -->`` becomes what that command prints. Roles of docstrings, such as
``:class:`` in front of a name, are left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from unittest import mock

from onnxq.cli import main

__all__ = ["on_page_content", "on_page_markdown"]

_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):(?=<code>)")
_MARK = re.compile(r"^<!-- output: onnxq (.*) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Returns a page with its marks replaced by blocks of text."""
    return _MARK.sub(lambda mark: f"```text\n{_printed(mark[1])}```", markdown)


def on_page_content(html: str, **_: object) -> str:
    """Returns a page without roles in front of names."""
    return _ROLE.sub("", html)


def _printed(words: str) -> str:
    wide = {"COLUMNS": "100", "NO_COLOR": "1"}
    with mock.patch.dict(os.environ, wide), contextlib.redirect_stdout(io.StringIO()) as printed:
        code = main(shlex.split(words))
    if code:
        raise RuntimeError(f"onnxq {words} ended with {code}")
    return printed.getvalue()
