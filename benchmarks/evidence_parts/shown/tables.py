"""Markdown."""

from __future__ import annotations

from collections.abc import Iterable

Lines = list[str]


def span(counts: Iterable[int]) -> str:
    """``3``, or ``1–3`` where they differ."""
    known = sorted(counts)
    return "–".join(f"{count:,}" for count in dict.fromkeys((known[0], known[-1])))


def table(headings: list[str], lines: list[list[str]], left: int = 1) -> Lines:
    """A table, its first columns aligned to the left, and an empty line."""
    marks = ["---"] * left + ["--:"] * (len(headings) - left)
    return [f"| {' | '.join(cells)} |" for cells in (headings, marks, *lines)] + [""]
