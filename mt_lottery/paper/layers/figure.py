"""The figure of ``mt-ticket layers``: share of rejecting rows per layer and kind (Figure 6)."""

from __future__ import annotations

import textwrap
from pathlib import Path

from mt_lottery.errors import plural
from mt_lottery.paper.layers.parameters import KINDS, Layers
from mt_lottery.report.figures import LEGEND, new_figure, save_figure, style


def draw_layers(found: Layers, stem: Path) -> list[Path]:
    """A line a kind over the layers, and bars for what is outside of them.

    Returns:
        the paths of the PNG and the SVG.
    """
    groups = found.groups()
    inside = [g for g in groups if g.layer is not None]
    outside = [g for g in groups if g.layer is None]
    both = bool(inside) and bool(outside)
    # one scale for both panels, from 0, with room for the numbers above the bars
    highest = min(100.0, max(1.0, 115 * max(g.share for g in groups)))
    figure, axes = new_figure(1, 2 if both else 1, width=9.0 if both else 6.4, height=4.2)
    if both:
        axes[0].get_gridspec().set_width_ratios([3, 1])
    if inside:
        left = axes[0] if both else axes
        kinds = [kind for kind in KINDS if any(g.kind == kind for g in inside)]
        for place, kind in enumerate(kinds):
            mine = [g for g in inside if g.kind == kind]
            rows = sum(g.rows for g in mine)
            left.plot(
                [g.layer for g in mine],
                [100 * g.share for g in mine],
                label=f"{kind} ({plural(rows, 'row')})",
                clip_on=False,
                **style(place),
            )
        left.set_xlabel("layer")
        left.set_ylabel(f"rows that reject at α = {found.alpha:g} (%)")
        left.set_ylim(0, highest)
        left.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside upper center", ncols=3, **LEGEND)
    if outside:
        right = axes[1] if both else axes
        names = [f"{g.kind}\n({plural(g.rows, 'row')})" for g in outside]
        right.bar(names, [100 * g.share for g in outside], color="#bbbbbb", edgecolor="#000000",
                  width=0.6)  # fmt: skip
        for place, group in enumerate(outside):
            right.annotate(f"{100 * group.share:.2g}%", (place, 100 * group.share),
                           xytext=(0, 2), textcoords="offset points", ha="center",
                           fontsize=8)  # fmt: skip
        right.set_ylim(0, highest)
        right.tick_params(axis="x", labelsize=8)
        right.set_xlabel("outside of the layers")
        if not both:
            right.set_ylabel(f"rows that reject at α = {found.alpha:g} (%)")
    rejected, tied = sum(g.rejected for g in groups), sum(g.tied for g in groups)
    if tied:
        words = (
            f"In {tied:,} of the {plural(rejected, 'rejecting row')} D is no more than the share "
            "of coordinates that held one value before: ties taken apart."
        )
        figure.supxlabel(textwrap.fill(words, 140 if both else 90), fontsize=8)
    return save_figure(figure, stem)
