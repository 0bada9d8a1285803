"""Figures as PNG and SVG: readable in black and white, the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mt_lottery.errors import ConfigError
from mt_lottery.system.atomic import write_bytes

#: Line styles and markers tell series apart where colours cannot (print, colour-blindness).
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Okabe and Ito's colours, the dark ones first; each differs in lightness.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")

#: What SVG and HTML are drawn in on a light and on a dark page; each at least 3 : 1 on its paper,
#: writing 4.5 : 1.  ``raw`` and ``first_line`` are two of the colours above, as seen on dark paper
#: their lighter neighbours.
THEMES = {
    "light": {
        **{"paper": "#ffffff", "ink": "#1c2128", "quiet": "#57606b", "line": "#d5dae1"},
        **{"edge": "#7d8793", "raw": "#0072B2", "first_line": "#D55E00"},
    },
    "dark": {
        **{"paper": "#0d1117", "ink": "#e4e8ee", "quiet": "#a3adba", "line": "#373e49"},
        **{"edge": "#77828f", "raw": "#56B4E9", "first_line": "#E69F00"},
    },
}

#: Keyword arguments of every legend.
LEGEND: dict[str, Any] = {"fontsize": 8, "frameon": False}


def check_matplotlib() -> None:
    """Make sure that figures can be drawn, before the work that they show begins.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "Figures need matplotlib: pip install 'mt-lottery[plot]' (or --no-plot)."
        ) from error


def style(index: int) -> dict[str, Any]:
    """Keyword arguments of ``Axes.plot`` for the series of this number."""
    look = {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[index % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
        "markersize": 4,
        "linewidth": 1.3,
    }
    if index >= len(COLOURS):  # they come round again
        look["markerfacecolor"] = "white"
    return look


def whiskers(
    values: Sequence[float], intervals: Sequence[tuple[float, float]]
) -> list[list[float]]:
    """The lengths of error bars, below and above; an interval need not hold the value itself."""
    pairs = list(zip(values, intervals, strict=True))
    below = [max(0.0, value - low) for value, (low, _) in pairs]
    return [below, [max(0.0, high - value) for value, (_, high) in pairs]]


def logarithmic(axes: Any, ticks: Sequence[int]) -> None:
    """A logarithmic x axis with these numbers on it, and no other."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()


def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.0
) -> tuple[Any, Any]:
    """A figure and its axes (an array where there are several), sizes in inches."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(True, color="#dddddd", linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def hide_covered(figure: Any, texts: Iterable[Any]) -> None:
    """Hide each text that would be on one before it, in the layout that the figure has."""
    figure.draw_without_rendering()
    kept: list[Any] = []
    for text in texts:
        box = text.get_window_extent().padded(1)
        if any(box.overlaps(other) for other in kept):
            text.set_visible(False)
        else:
            kept.append(box)


@cache
def _letters(path: str) -> frozenset[int]:
    """The code points that a font has glyphs for."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)  # one of pictures (colour emoji) is of a single size
        return frozenset(font.get_charmap() if font.scalable else ())
    except (OSError, RuntimeError):  # a font that is broken, or was taken away
        return frozenset()


def make_legible(text: Any) -> None:
    """Give a text of a figure fonts with all its letters; what none has is written ``U+6708``.

    matplotlib's own font has Latin, Greek, Cyrillic, Arabic and Hebrew letters, but no Chinese,
    Japanese or Indian ones: it would draw boxes.

    Args:
        text: matplotlib's.
    """
    from matplotlib.font_manager import findfont, fontManager

    words = text.get_text()
    own = findfont(text.get_fontproperties())
    missing = {ord(x) for x in words if not x.isspace()} - _letters(own)
    if not missing:
        return
    names = list(text.get_fontfamily())
    plain = [f for f in fontManager.ttflist if f.style == "normal" and "Last Resort" not in f.name]
    # of two fonts that have them, any will do: the same one each time, Noto's where it is
    for font in sorted(plain, key=lambda f: ("Noto" not in f.name, f.weight != 400, f.name)):
        if missing & _letters(font.fname):
            names.append(font.name)
            missing -= _letters(font.fname)
        if not missing:
            break
    text.set_fontfamily(names)
    text.set_text("".join(f"U+{ord(x):04X}" if ord(x) in missing else x for x in words))


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """Write ``stem.png`` (200 dots an inch) and ``stem.svg``; returns their paths."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        make_legible(text)
    written = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "mt-lottery", "svg.fonttype": "none"}):
            figure.savefig(buffer, format=suffix, dpi=200, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{suffix}")
        write_bytes(path, buffer.getvalue())
        written.append(path)
    return written
