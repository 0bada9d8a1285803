"""The figure of ``mt-ticket show``: how distances are distributed, where frequent tokens are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mt_lottery.paper.show.callouts import callouts
from mt_lottery.paper.show.ticket_report import TicketReport, TokenLine
from mt_lottery.report.figures import LEGEND, make_legible, new_figure, save_figure
from mt_lottery.report.tokens import is_byte_level, shown_token

LABELLED = 9  # tokens whose names are in the figure, where there is room
LONG = 16  # letters of a name
BEND, NAMES = 1.05, 1.07  # where leaders end and names begin, above the axes (their height is 1)


def draw_ticket(report: TicketReport, stem: Path) -> list[Path]:
    """Histogram of D, and D against the frequency in the corpus where that is known.

    Returns:
        the paths of the PNG and the SVG.
    """
    return save_figure(figure_of(report), stem)


def figure_of(report: TicketReport) -> Any:
    """The figure, not yet written."""
    counted = any(_occurrences(line) for line in report.lines)
    figure, axes = new_figure(1, 2 if counted else 1, width=9.0 if counted else 6.4, height=4.2)
    left = axes[0] if counted else axes
    _histogram(left, report)
    if counted:
        _frequencies(axes[1], report)
    return figure


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
    axes.locator_params(axis="x", nbins=7)
    dimension = f", d = {report.dimension}" if report.dimension else ""
    axes.set_xlabel(f"KS distance D between a row before and after{dimension}")
    axes.set_ylabel("vocabulary rows per bin (log scale)")
    _legend(axes)


def _legend(axes) -> None:  # type: ignore[no-untyped-def]
    """Below the axes, where no point, bar or name is."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, **LEGEND)


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
    _names(axes, report)


def _names(axes, report: TicketReport) -> None:  # type: ignore[no-untyped-def]
    """The names of the most changed tokens, above the axes, with leaders to their points."""
    named = [x for x in report.lines if _occurrences(x)][:LABELLED]
    byte_level = is_byte_level(line.token for line in report.lines)
    axes.set_xlim(axes.get_xlim())  # as it is now, whatever is drawn
    figure = axes.figure
    figure.draw_without_rendering()  # now the layout is known
    box, point = axes.get_window_extent(), figure.dpi / 72
    width, height = box.width / point, box.height / point
    places, names, widths = [], [], []
    for line in named:
        x, y = axes.transData.transform((_occurrences(line), line.statistic))
        places.append(((x - box.x0) / point, (y - box.y0) / point))
        drawn = _write(axes, 0.0, _name(line, byte_level))
        drawn.set_text(_short(drawn.get_text()))  # letters that no font has are six each
        names.append(drawn.get_text())
        widths.append(drawn.get_window_extent().width / point)
        drawn.remove()
    for each in callouts(places, widths, (0.0, width), comma=5.0, apart=7.0):
        own = [places[index] for index in each.members]
        x = [*(x / width for x, _ in own), own[-1][0] / width, each.at / width]
        y = [*(y / height for _, y in own), 1.0, BEND]
        axes.plot(
            *(x, y),
            **{"color": "#777777", "linewidth": 0.6, "zorder": 1},
            **{"transform": axes.transAxes, "clip_on": False, "gid": "leader"},
        )
        # the highest first
        _write(axes, each.at / width, ", ".join(names[i] for i in reversed(each.members)))


def _short(name: str) -> str:
    return name if len(name) <= LONG else name[: LONG - 1] + "…"


def _name(line: TokenLine, byte_level: bool) -> str:
    """A token as it is called in the figure; in quotes where it is hardly seen."""
    name = _short(shown_token(line.token, byte_level))
    return name if any(map(str.isalnum, name)) else f"“{name}”"


def _write(axes, x: float, name: str):  # type: ignore[no-untyped-def]
    """A name above the axes; "$" would begin a formula."""
    text = axes.text(
        *(x, NAMES, name),
        **{"transform": axes.transAxes, "ha": "center", "va": "bottom", "fontsize": 8},
        **{"parse_math": False, "gid": "name"},
    )
    make_legible(text)
    return text
