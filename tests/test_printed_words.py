"""What is printed: no "1 rows", and no page that somebody who installed a wheel does not have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mt_lottery.errors import plural

PACKAGE = Path(__file__).parents[1] / "mt_lottery"
TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
#: What messages count, in the plural.
COUNTED = (
    *("bytes", "cells", "characters", "columns", "devices", "dimensions", "entries", "files"),
    *("hypotheses", "ids", "jobs", "languages", "layers", "lines", "pairs", "parameters"),
    *("positions", "probes", "processes", "prompts", "recipes", "records", "references", "rows"),
    *("runs", "sentences", "sources", "tensors", "tokens", "translations", "trials"),
)
_AFTER = re.compile(rf" (?:(?!and )[a-z-]+ )??({'|'.join(COUNTED)})\b(?!/| nothing)")


def counted_by_hand(tree: ast.AST) -> Iterator[str]:
    """Numbers before a plural in f-strings; a constant (``LONGEST``) is known not to be 1."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant)):
                continue
            shown = ast.unparse(value.value)
            number = re.search(r"\blen\(|count|pairs$|rows$|tokens$|total|sum\(|^\w+$", shown)
            if number and not shown.isupper() and _AFTER.match(str(text.value)):
                yield f"{node.lineno}: {{{shown}}}{text.value}"


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_is_not_said_in_the_plural(path: Path) -> None:
    assert list(counted_by_hand(TREES[path])) == []


def test_what_is_found() -> None:
    made = ast.parse('f"{len(x):,} training pairs"; f"{MOST} rows"; f"{plural(n, \'row\')} of"')
    assert [found.partition(": ")[2] for found in counted_by_hand(made)] == [
        "{len(x)} training pairs"
    ]
    nouns = ("hypothesis", "process", "entry", "training pair", "token id")
    assert [plural(2, noun).removeprefix("2 ") for noun in nouns] == [
        *("hypotheses", "processes", "entries", "training pairs", "token ids"),
    ]
    assert plural(1, "process") == "1 process" and plural(0, "cell") == "0 cells"


def test_no_message_names_a_page_of_the_repository() -> None:
    """``docs/`` is not in a wheel: a message gives the advice itself, or a command."""
    found = []
    for path, tree in TREES.items():
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        quiet = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                page = re.search(r"docs/[\w-]+\.md|CONTRIBUTING|CHANGELOG", node.value)
                if page and id(node) not in quiet:
                    found.append(f"{path}:{node.lineno}: {page[0]}")
    assert found == []
