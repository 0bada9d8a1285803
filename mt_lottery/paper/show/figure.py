"""The figure of ``mt-ticket show``: how distances are distributed, where frequent tokens are."""

from __future__ import annotations

from pathlib import Path

from mt_lottery.paper.show.ticket_report import TicketReport, TokenLine
from mt_lottery.report.figures import LEGEND, new_figure, save_figure
from mt_lottery.report.tokens import is_byte_level, shown_token

LABELLED = 7  # tokens whose names are in the figure


def draw_ticket(report: TicketReport, stem: Path) -> list[Path]:
    """Histogram of D, and D against the frequency in the corpus where that is known.

    Returns:
        the paths of the PNG and the SVG.
    """
    counted = any(_occurrences(line) for line in report.lines)
    figure, axes = new_figure(1, 2 if counted else 1, width=9.0 if counted else 6.4, height=3.8)
    left = axes[0] if counted else axes
    _histogram(left, report)
    if counted:
        _frequencies(axes[1], report)
    return save_figure(figure, stem)


def _histogram(axes, report: TicketReport) -> None:  # type: ignore[no-untyped-def]
    edges, counts = report.histogram.edges, report.histogram.counts
    width = edges[1] - edges[0] if counts else 1.0
    chosen = [0] * len(counts)
    for line in report.lines:
        if line.selected:
            # distances are multiples of 1/d: a little less than the right edge is inside
            chosen[min(int((line.statistic - width * 1e-6) / width), len(counts) - 1)] += 1
    axes.bar(edges[:-1], counts, width, align="edge", color="#cccccc", edgecolor="#555555",
             linewidth=0.6, label=f"changed rows ({len(report.lines):,})")  # fmt: skip
    if any(chosen):
        axes.bar(edges[:-1], chosen, width, align="edge", color="#000000", edgecolor="#000000",
                 linewidth=0.6, label=f"in the ticket ({sum(chosen):,})")  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.7)
    axes.set_xlim(left=0)
    dimension = f", d = {report.dimension}" if report.dimension else ""
    axes.set_xlabel(f"KS distance D between a row before and after{dimension}")
    axes.set_ylabel("vocabulary rows per bin (log scale)")
    _legend(axes)


def _legend(axes) -> None:  # type: ignore[no-untyped-def]
    """Above the axes, where no point or bar is."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2, **LEGEND)


def _occurrences(line: TokenLine) -> int:
    """In the training inputs, template and special tokens included, or in the corpus given."""
    places = [line.counts[p] for p in ("template", "source", "target") if p in line.counts]
    return sum(places) if places else line.counts.get("corpus", 0)


def _frequencies(axes, report: TicketReport) -> None:  # type: ignore[no-untyped-def]
    for selected, marker, colour, name in (
        (False, "o", "#999999", "changed rows"),
        (True, "^", "#000000", "in the ticket"),
    ):
        found = [x for x in report.lines if x.selected is selected and _occurrences(x)]
        if found:
            axes.scatter(
                [_occurrences(x) for x in found],
                [x.statistic for x in found],
                s=22 if selected else 7,
                marker=marker,
                color=colour,
                linewidths=0,
                alpha=1.0 if selected else 0.5,
                label=name,
            )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    inputs = bool(report.lines) and "template" in report.lines[0].counts
    where = "training inputs" if inputs else "corpus"
    axes.set_xlabel(f"occurrences in the {where} (log scale)")
    axes.set_ylabel("KS distance D")
    _legend(axes)
    taken: list[float] = []
    span = axes.get_ylim()[1]
    named = [x for x in report.lines if _occurrences(x)][:LABELLED]
    byte_level = is_byte_level(line.token for line in report.lines)
    for line in sorted(named, key=lambda x: (-x.statistic, -_occurrences(x))):
        at = line.statistic
        while any(abs(at - other) < 0.045 * span for other in taken):
            at -= 0.045 * span  # one below the other, not on top of each other
        taken.append(at)
        # "$" would begin a formula
        name = shown_token(line.token, byte_level).replace("$", r"\$")
        axes.annotate(
            name,
            (_occurrences(line), line.statistic),
            xytext=(1.02, at),
            textcoords=axes.get_yaxis_transform(),
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#777777", "linewidth": 0.5},
        )
