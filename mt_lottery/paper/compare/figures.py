"""Figures of ``mt-ticket compare``: overlap, stability, unchanged rows, the null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mt_lottery.errors import plural
from mt_lottery.paper.compare.files import Comparison
from mt_lottery.paper.compare.nulls import LEVEL, Null
from mt_lottery.report.figures import (
    COLOURS,
    LEGEND,
    hide_covered,
    logarithmic,
    new_figure,
    save_figure,
    style,
)


def draw(found: Comparison, out: Path) -> list[Path]:
    """Draw what was compared, PNG and SVG; returns their paths."""
    written: list[Path] = []
    if len(found.runs) > 2:
        written += save_figure(_overlap_figure(found), out / "overlap")
    if any(any(v is not None for v in pair.at.values()) for pair in found.pairs):
        written += save_figure(_stability_figure(found), out / "stability")
    if found.unchanged:
        written += save_figure(_unchanged_figure(found), out / "unchanged")
    for index, null in enumerate(found.nulls):
        stem = "null" if len(found.nulls) == 1 else f"null-{index + 1}"
        written += save_figure(_null_figure(null), out / stem)
    return written


def _overlap_figure(found: Comparison) -> Any:
    """Tokens in common and Jaccard index of every two tickets, as a shaded table."""
    labels = [run.label for run in found.runs]
    count = len(labels)
    size = max(4.0, 1.6 + 0.9 * count)
    figure, axes = new_figure(width=size + 0.8, height=size)
    known = {(pair.first, pair.second): pair for pair in found.pairs}
    shades = [[float("nan")] * count for _ in labels]
    for row, one in enumerate(labels):
        for column, other in enumerate(labels):
            if row == column:
                text, dark = str(len(found.runs[row].rows)), False
            else:
                pair = known.get((one, other)) or known[other, one]
                assert pair.jaccard is not None
                shades[row][column] = pair.jaccard
                text, dark = f"{pair.common}\n({pair.jaccard:.2f})", pair.jaccard > 0.5
            axes.text(column, row, text, ha="center", va="center", fontsize=9,
                      color="white" if dark else "black")  # fmt: skip
    image = axes.imshow(shades, cmap="Greys", vmin=0, vmax=1)
    axes.grid(False)
    axes.set_xticks(range(count), labels, rotation=30, ha="right")
    axes.set_yticks(range(count), labels)
    axes.set_title("Tokens in common (Jaccard index)", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label="Jaccard index of two tickets")
    return figure


def _stability_figure(found: Comparison) -> Any:
    """Common share of the k most changed rows against k, a line for each two.

    Of more pairs than there are line styles, those with the first run are shown.
    """
    figure, axes = new_figure(width=9.2, height=4.4)
    nulls = {null.label for null in found.nulls}
    pairs = [pair for pair in found.pairs if any(v is not None for v in pair.at.values())]
    if len(pairs) > len(COLOURS):
        first = found.runs[0].label
        pairs = [pair for pair in pairs if pair.first == first][: 2 * len(COLOURS)]
    for index, pair in enumerate(pairs):
        looks = style(index) | ({"linewidth": 2.2} if pair.second in nulls else {})
        points = [(k, v) for k, v in sorted(pair.at.items()) if v is not None]
        axes.plot(*zip(*points, strict=True), label=f"{pair.first} | {pair.second}", **looks)
    logarithmic(axes, sorted({k for p in pairs for k, v in p.at.items() if v is not None}))
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("k, number of most changed rows (log scale)")
    axes.set_ylabel("share of them in common")
    axes.legend(**LEGEND | {"fontsize": 7}, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    hide_covered(figure, axes.get_xticklabels())
    return figure


def _unchanged_figure(found: Comparison) -> Any:
    """Share of rows unchanged between partial tuning and partial transfer, against α."""
    figure, axes = new_figure()
    numbers = []
    for index, each in enumerate(found.unchanged):
        points = [(x.alpha, x.share, x.compared) for x in each.levels if x.share is not None]
        if not points:
            continue
        alphas, shares, counts = zip(*points, strict=True)
        axes.plot(alphas, shares, label=each.run, **style(index))
        for alpha, share, count in zip(alphas, shares, counts, strict=True):
            numbers.append(axes.annotate(str(count), (alpha, share), xytext=(5, 5), fontsize=7,
                                         textcoords="offset points"))  # fmt: skip
    axes.set_xlim(-0.02, 1.06)
    axes.set_ylim(-0.03, 1.1)
    axes.set_xlabel("α, the level of both tests (nominal)")
    axes.set_ylabel("share of the ticket's rows unchanged")
    axes.set_title("Partial tuning against partial transfer; numbers: rows compared", fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, **LEGEND)
    hide_covered(figure, numbers)
    return figure


def _null_figure(null: Null) -> Any:
    """Share of trained rows with a D of at least x: the run against its null."""
    figure, axes = new_figure()
    for index, (name, column) in enumerate(
        ((f"{null.run}: original and probe", null.statistic), (_null_name(null), null.null))
    ):
        values = column[null.rows]
        at = torch.unique(values[values > 0])
        share = [(values >= x).double().mean().item() for x in at]
        looks = style(index) | {"marker": ""}
        axes.step(at.tolist(), share, where="pre", label=name, **looks)
    ticket = null.statistic[list(null.ticket)]
    axes.plot(ticket.tolist(), [1 / len(null.rows) / 1.6] * len(ticket), "|", color="black",
              markersize=9, label="the ticket's rows")  # fmt: skip
    bound = null.quantiles()[LEVEL]
    axes.axvline(bound, color="#555555", linewidth=1, linestyle=":")
    axes.annotate(f"{LEVEL:.0%} of the null", (bound, 0.6), xytext=(4, 0), fontsize=8,
                  textcoords="offset points")  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("KS distance D")
    axes.set_ylabel(f"share of the {plural(len(null.rows), 'trained row')}\nwith at least this D")
    axes.legend(**LEGEND)
    return figure


def _null_name(null: Null) -> str:
    if null.kind == "seeds":
        return f"null: probes of two seeds (the other: {null.seed})"
    return f"null: original and probe of shuffled targets (seed {null.seed})"
