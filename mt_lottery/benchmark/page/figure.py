"""The plot of a leaderboard as two files of SVG, for a README on a light and on a dark page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mt_lottery.benchmark.page.document import templates
from mt_lottery.benchmark.page.labels import width
from mt_lottery.benchmark.page.plot import Drawing, points
from mt_lottery.errors import RecordError, plural
from mt_lottery.report.figures import THEMES
from mt_lottery.system.atomic import write_text

#: Shown 800 px wide the writing is 20 px high, and 9 px on a phone.
WIDTH, HEIGHT, SHOWN = 500, 420, 800
KEY = (
    *(("raw", "whole output"), ("first", "first line"), ("gap", "what stopping is worth")),
    ("whisker", "95% interval"),
)


def figure_files(stem: Path) -> dict[str, Path]:
    """Theme → the file that it is drawn in."""
    return {theme: stem.with_name(f"{stem.name}-{theme}.svg") for theme in THEMES}


def draw(board: dict[str, Any], theme: str) -> str:
    """Score against trained parameters of the board's first block: the same bytes each time.

    Args:
        board: the numbers (``leaderboard.json``).
        theme: ``light`` or ``dark``.

    Raises:
        RecordError: no recipe has an average score.
    """
    shown = points(board["blocks"][0]["rows"]) if board["blocks"] else []
    if not shown:
        raise RecordError("No recipe has an average score to draw yet.")
    keys, at = [], 14.0
    for kind, words in KEY:
        keys.append((kind, words, at))
        at += width(words) + 20
    count = len(board["languages"])
    score = board["metric"]["column"]
    average = f"average of {plural(count, 'language')}" if count > 1 else board["languages"][0]
    return (
        templates()
        .get_template("figure.svg")
        .render(
            board=board,
            own=Drawing(shown, f"{score}, {average}", WIDTH, HEIGHT, exact=True),
            keys=keys,
            colours=THEMES[theme],
            shown=SHOWN,
            height=HEIGHT + 26,
        )
    )


def write_figure(board: dict[str, Any], stem: Path) -> list[Path]:
    """Write ``STEM-light.svg`` and ``STEM-dark.svg``; returns their paths.

    Raises:
        RecordError: no recipe has an average score.
    """
    files = figure_files(stem)
    texts = {theme: draw(board, theme) for theme in files}
    for theme, path in files.items():
        write_text(path, texts[theme])
    return list(files.values())
