"""Docstrings as Markdown: roles and double colons of reST, and examples with ``>>>``."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?([^`]+)`")
EXAMPLE = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.MULTILINE)


def _fenced(match: re.Match[str]) -> str:
    return f"```pycon\n{textwrap.dedent(match[0])}\n```"


def as_markdown(text: str) -> str:
    """A docstring that Markdown shows as it was meant."""
    text = re.sub(r"::$", ":", ROLE.sub(r"`\1`", text), flags=re.MULTILINE)
    return EXAMPLE.sub(_fenced, text)


class AsMarkdown(griffe.Extension):
    """Rewrites the docstring of every object that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each of them."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
