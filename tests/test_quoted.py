"""What pages quote is what there is: the example plugins, and the messages of the program."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parents[1]
EXAMPLES = TOP / "examples" / "plugins"


def blocks(page: str) -> list[str]:
    text = (TOP / page).read_text("utf-8")
    return re.findall(r"^```(?:python|yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def without_docstring(file: Path) -> str:
    text = file.read_text("utf-8")
    return text.removeprefix(f'"""{ast.get_docstring(ast.parse(text), clean=False)}"""\n\n')


def test_the_page_of_plugins_shows_every_example() -> None:
    shown = blocks("docs/plugins.md")
    for file in sorted(EXAMPLES.glob("*.py")):
        assert without_docstring(file) in shown, file.name
    assert (EXAMPLES / "norms.yaml").read_text("utf-8") in shown


def test_the_readme_shows_the_example_of_a_tuner() -> None:
    assert without_docstring(EXAMPLES / "tuner.py") in blocks("README.md")


def words(text: str) -> set[str]:
    """Of a message up to its hint, values in quotes aside."""
    fixed = re.sub(r"'[^' ]*'", "", text.partition(" Did you mean")[0])
    return set(re.findall(r"[a-z_]{2,}", fixed.lower()))


@cache
def texts() -> list[set[str]]:
    """The words of every text of the program, and of what scripts/install says."""
    found = []
    for file in (TOP / "mt_lottery").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(words(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [str(p.value) for p in node.values if isinstance(p, ast.Constant)]
                found.append(words(" ".join(parts)))
    install = (TOP / "scripts" / "install").read_text("utf-8")
    return found + [words(text) for text in re.findall(r'fail "([^"]*)"', install)]


PAGE = (TOP / "docs" / "troubleshooting.md").read_text("utf-8")
QUOTED = [text.strip("` ") for text in re.findall(r"^### .*?(`+.+`+)$", PAGE, re.MULTILINE)]
OF_OTHERS = ("expected target modules", "mt-train: command not found")  # vLLM, the shell


@pytest.mark.parametrize("message", [m for m in QUOTED if not m.startswith(OF_OTHERS)])
def test_a_quoted_message_is_one_of_ours(message: str) -> None:
    """Half of its words, values in quotes aside, are those of one text."""
    asked = words(message)
    assert max(len(asked & text) for text in texts()) >= len(asked) / 2, message


def test_the_citation_is_valid() -> None:
    cff = yaml.safe_load((TOP / "CITATION.cff").read_text("utf-8"))
    assert cff["cff-version"] == "1.2.0" and cff["title"] == "mt-lottery"
    assert {"message", "authors", "type", "license"} <= cff.keys()
    assert "2025.naacl-long.458" in (TOP / "README.md").read_text("utf-8")
