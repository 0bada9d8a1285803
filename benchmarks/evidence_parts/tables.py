"""Markdown."""

from __future__ import annotations

Lines = list[str]


def table(headings: list[str], lines: list[list[str]], left: int = 1) -> Lines:
    """A table, its first columns aligned to the left, and an empty line."""
    marks = ["---"] * left + ["--:"] * (len(headings) - left)
    return [f"| {' | '.join(cells)} |" for cells in (headings, marks, *lines)] + [""]
