"""The figure of a sweep: score against number of rows, raw and first line side by side."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from mt_lottery.benchmark.board.report import Written
from mt_lottery.benchmark.recipes import label
from mt_lottery.errors import plural
from mt_lottery.paper.sweep.curve import Point
from mt_lottery.paper.sweep.files import figure_stem, label_of
from mt_lottery.paper.sweep.sweep import Curves
from mt_lottery.report.figures import (
    LEGEND,
    hide_covered,
    logarithmic,
    new_figure,
    save_figure,
    style,
    whiskers,
)
from mt_lottery.scoring.metric import WHICH

_TITLES = {"raw": "whole output", "first_line": "first line of the output"}
#: How the horizontal lines are told apart without colour.
_BASELINES = {"none": (0, (1, 2)), "embed": (0, (6, 2))}
_APART = 0.035  # of a decade, between two curves' whiskers at one size


def draw(curves: Curves, lang: str) -> Any:
    """Figure of one pair.

    Curves are slightly apart along x, so that whiskers (95% intervals) do not hide each other.
    A ring marks the size that is best on the dev set.
    """
    own = [curve for curve in curves.curves if curve.lang == lang]
    rows = -(-(len(own) + 3) // 3)  # of the legend
    sizes = curves.sweep.sizes
    gaps = [math.log10(b / a) for a, b in itertools.pairwise(sizes)]
    apart = min([_APART, *(0.7 * gap / len(own) for gap in gaps)])
    beyond = 10 ** (apart * len(own) / 2 + 0.1)
    figure, axes = new_figure(1, 2, width=9.0, height=3.9 + 0.2 * rows)
    for axis, which in zip(axes, WHICH, strict=True):
        for name, point in curves.baselines[lang].items():
            if point.state == "done":
                score = point.scores[which].score
                axis.axhline(
                    score,
                    color="#555555",
                    linestyle=_BASELINES[name],
                    linewidth=1.1,
                    label=label(name),
                )
        for place, curve in enumerate(own):
            done = [p for p in curve.points if p.state == "done"]
            shift = 10 ** (apart * (place - (len(own) - 1) / 2))
            _curve(axis, done, which, shift, place, label_of(curve.series, curves), curve.chosen)
        logarithmic(axis, sizes)
        axis.set_xlim(sizes[0] / beyond, sizes[-1] * beyond)
        axis.set_title(_TITLES[which], fontsize=10)
        axis.set_xlabel("rows of the embedding table (log scale)")
    first = next(iter(curves.results.records.values()))
    column = first.scores[curves.results.metric].get("column", curves.results.metric)
    axes[0].set_ylabel(f"{column}, {plural(first.data.test.pairs, 'sentence')}")
    points = [*curves.baselines[lang].values(), *(p for curve in own for p in curve.points)]
    scores = [p.scores[which] for p in points if p.state == "done" for which in WHICH]
    lowest = min(end for score in scores for end in (score.score, score.ci95[0]))
    top = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(min(0.0, 1.1 * lowest), top)  # a score (COMET's) may be below 0
    figure.suptitle(f"{first.model.name}, {lang}", fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    if any(curve.chosen for curve in own):
        ring = axes[0].scatter([], [], **_RING)
        handles, labels = [*handles, ring], [*labels, "best on the dev set"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, **LEGEND)
    for axis in axes:
        hide_covered(figure, axis.get_xticklabels())
    return figure


_RING: dict[str, Any] = {"s": 90, "facecolors": "none", "edgecolors": "#000000", "linewidths": 1.1}


def _curve(
    axis: Any, done: list[Point], which: str, shift: float, place: int, name: str, best: int | None
) -> None:
    x = [float(p.size or 0) * shift for p in done]
    y = [p.scores[which].score for p in done]
    ends = whiskers(y, [p.scores[which].ci95 for p in done])
    look = {"label": name, "capsize": 2, "elinewidth": 0.8, "zorder": 3, **style(place)}
    axis.errorbar(x, y, yerr=ends, **look)
    for a, b, point in zip(x, y, done, strict=True):
        if point.size == best:
            axis.scatter([a], [b], zorder=4, **_RING)


def draw_all(curves: Curves, written: Written) -> None:
    """Write a figure a pair, as PNG and SVG, into the sweep's folder.

    Args:
        curves: what to draw.
        written: collects the files, and what kept one from being made.
    """
    bench = curves.sweep.bench
    for lang in bench.langs:
        stem = figure_stem(bench.out, lang, bench.langs)

        def save(lang: str = lang, stem: Path = stem) -> None:
            written.files += save_figure(draw(curves, lang), stem)

        written.attempt(f"{stem}.png, .svg", save)
