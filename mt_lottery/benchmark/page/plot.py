"""Score against trainable parameters, drawn as SVG: raw and first-line score of each recipe.

Drawn twice, for a wide and for a narrow screen, so that the writing keeps its size on a phone;
the style sheet shows one. Colours come from the style sheet too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

from mt_lottery.benchmark.page.numbers import Json, interval, number, parameters, plain
from mt_lottery.benchmark.page.table import AVERAGE, done, label_of

LETTER = 6.9  # px, the mean width of a letter of the labels; a little more than it needs
LINE = 15.0  # px, height of a label
Box = tuple[float, float, float, float]
# how far a name is from its point, its box, where its line to the point ends, how it is anchored
Spot = tuple[float, Box, tuple[float, float], str]


@dataclass
class Point:
    """One recipe in the plot.

    Attributes:
        name: registered name, its label.
        label: full name.
        count: trainable parameters.
        raw: average raw score.
        first_line: average first-line score, or None.
        ci95: interval of the raw score, or None.
        mark: whether it is among the best.
        x: where it is drawn.
    """

    name: str
    label: str
    count: int
    raw: float
    first_line: float | None
    ci95: tuple[float, float] | None
    mark: bool
    x: float = 0.0

    def said(self) -> str:
        """The point in words."""
        text = f"{self.label}: {self.count:,} trainable parameters, raw {plain(self.raw)}"
        if self.ci95:
            text += f" (95% interval {plain(self.ci95[0])} to {plain(self.ci95[1])})"
        if self.first_line is not None:
            text += f", first line {plain(self.first_line)}"
        return text + (", best or not significantly worse" if self.mark else "")


def points(rows: Sequence[Json]) -> list[Point]:
    """The recipes that have an average score and a number of parameters."""
    found = []
    for row in rows:
        average = done(row, AVERAGE)
        count, raw = number(row, "trainable_parameters"), number(average, "raw", "score")
        if count is not None and raw is not None:
            first = number(average, "first_line", "score")
            ends = interval(average, "raw", "ci95")
            name, mark = str(row["method"]), bool(row.get("mark"))
            found.append(Point(name, label_of(row), int(count), raw, first, ends, mark))
    return found


def _steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers from below ``low`` to above ``high``, about ``most`` of them."""
    rough = max((high / most - low / most), 1e-9) if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)  # all scores 0: an axis needs two ends
    return [step * each for each in range(first, last + 1)]


class _Drawing:
    """One drawing at one width; the axes are fixed when it is made."""

    def __init__(self, points: Sequence[Point], score: str, width: int, height: int) -> None:
        self.points, self.score, self.width, self.height = points, score, width, height
        self.left, self.right, self.top, self.bottom = 44.0, width - 14.0, 34.0, height - 46.0
        values = [
            v for p in points for v in (p.raw, p.first_line, *(p.ci95 or ())) if v is not None
        ]
        self.ticks = _steps(min(0.0, *values), max(values), 6)
        counts = [p.count for p in points if p.count > 0]
        # a logarithm has no zero: recipes that train nothing have a separate strip
        self.strip = 34.0 if len(counts) < len(points) else 0.0
        self.low = math.floor(math.log10(min(counts, default=1)))
        self.high = max(math.ceil(math.log10(max(counts, default=10))), self.low + 1)
        self._place()

    def x(self, count: int) -> float:
        start = self.left + self.strip + (12 if self.strip else 4)
        if count <= 0:
            return self.left + self.strip / 2
        share = (math.log10(count) - self.low) / (self.high - self.low)
        return start + share * (self.right - 12 - start)

    def y(self, score: float) -> float:
        share = (score - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.bottom - share * (self.bottom - self.top)

    def _place(self) -> None:
        """Move recipes that train about equally much apart: else they hide each other.

        Neighbours keep their order and a gap, and are moved as little as that allows (least
        squares: groups that touch are pooled and stand around their mean).
        """
        gap = 11.0 if self.width > 500 else 9.0
        groups: list[list[Point]] = []
        for point in sorted(self.points, key=lambda p: (p.count, p.raw)):
            groups.append([point])
            while len(groups) > 1 and self._end(groups[-2], gap) > self._start(groups[-1], gap):
                groups[-2:] = [groups[-2] + groups[-1]]
        for group in groups:
            start = self._start(group, gap) + gap / 2
            over = max(0.0, start + gap * (len(group) - 1) - (self.right - 6))
            for place, point in enumerate(group):
                point.x = start + gap * place - over

    def _start(self, group: Sequence[Point], gap: float) -> float:
        return sum(self.x(p.count) for p in group) / len(group) - gap * len(group) / 2

    def _end(self, group: Sequence[Point], gap: float) -> float:
        return self._start(group, gap) + gap * len(group)

    def axes(self) -> Iterator[str]:
        for tick in self.ticks:
            y = self.y(tick)
            yield _line("grid", self.left, y, self.right, y)
            yield _text("tick", self.left - 7, y + 4, "end", f"{tick:g}")
        yield _text("name", 2.0, 16.0, "start", f"{self.score}, average")
        base = self.bottom + 18
        if self.strip:
            yield _text("tick", self.x(0), base, "middle", "0")
            edge = self.left + self.strip
            yield _line("edge", edge, self.top, edge, self.bottom)
        room = (self.right - self.left - self.strip) / (self.high - self.low + 1)
        every = math.ceil(38 / room)  # a narrow drawing has no room to name each power of ten
        for power in range(self.low, self.high + 1):
            x = self.x(10**power)
            yield _line("edge", x, self.bottom, x, self.bottom + 5)
            if (power - self.low) % every == 0:
                yield _text("tick", x, base, "middle", parameters(10**power).replace(".0", ""))
        middle = (self.left + self.right) / 2
        name = "trainable parameters (log scale)"
        yield _text("name", middle, self.height - 8.0, "middle", name)

    def mark(self, point: Point) -> str:
        x, raw = point.x, self.y(point.raw)
        parts = [f"<title>{escape(point.said())}</title>"]
        if point.ci95:
            low, high = (self.y(end) for end in point.ci95)
            parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        if point.first_line is not None:
            first = self.y(point.first_line)
            parts.append(f'<path class="gap" d="M{x:.1f} {raw:.1f}V{first:.1f}"/>')
            parts.append(f'<circle class="first" cx="{x:.1f}" cy="{first:.1f}" r="5.5"/>')
        parts.append(f'<circle class="raw" cx="{x:.1f}" cy="{raw:.1f}" r="3.5"/>')
        return f"<g>{''.join(parts)}</g>"

    def obstacles(self, point: Point) -> list[Box]:
        """What a name must not cover of one point: its circles and its whisker."""
        scores = [s for s in (point.raw, point.first_line) if s is not None]
        boxes = [(point.x - 6, self.y(s) - 6, point.x + 6, self.y(s) + 6) for s in scores]
        ends = [*scores, *(point.ci95 or ())]
        return [*boxes, (point.x - 1, self.y(max(ends)), point.x + 1, self.y(min(ends)))]

    def labels(self) -> Iterator[str]:
        """Each name where it covers nothing, as near to its point as that allows."""
        boxes = {id(point): self.obstacles(point) for point in self.points}
        placed: list[Box] = []
        for point in sorted(self.points, key=lambda p: (-p.x, -p.raw)):
            text = f"{point.name} ★" if point.mark else point.name
            raw = self.y(point.raw)
            taken = [*placed, *(b for p in self.points if p is not point for b in boxes[id(p)])]
            cost = partial(_cost, start=(point.x, raw), taken=taken, own=boxes[id(point)])
            _, box, (x, y), anchor = min(self.spots(point, LETTER * len(text)), key=cost)
            placed.append(box)
            if abs(x - point.x) > 14 or abs(y - raw) > 10:
                yield _line("leader", point.x, raw, x, y)
            yield _text("label best" if point.mark else "label", x, y + 4, anchor, text)

    def spots(self, point: Point, wide: float) -> Iterator[Spot]:
        """Places for a name of that width."""
        raw = self.y(point.raw)
        for across in (9, 22, 40, 60, 85, 115, 150):
            for down in (0, *(sign * step for step in range(8, 190, 6) for sign in (-1, 1))):
                y = raw + down
                top, end = y - LINE / 2, y + LINE / 2
                if top < self.top - 8 or end > self.bottom - LINE / 2:
                    continue
                far = across + 1.5 * abs(down)
                x = point.x + across
                if x + wide <= self.right + 12:
                    yield far, (x, top, x + wide, end), (x, y), "start"
                x = point.x - across
                if x - wide >= self.left + 2:
                    yield far + 1, (x - wide, top, x, end), (x, y), "end"
        # there is always one, if only across its own point
        x = self.left + 2
        yield 1e6, (x, raw - LINE / 2, x + wide, raw + LINE / 2), (x, raw), "start"


def _cost(
    spot: Spot, start: tuple[float, float], taken: Sequence[Box], own: Sequence[Box]
) -> tuple[float, float]:
    """What is covered counts before how far away a name is and what its line runs through."""
    far, box, end, _ = spot
    covered = sum(_overlap(box, other) for other in (*taken, *own))
    return covered, far + 25 * _crossings(start, end, taken)


def _crossings(start: tuple[float, float], end: tuple[float, float], boxes: Sequence[Box]) -> int:
    """How many boxes the line between two places runs through."""
    steps = [step / 12 for step in range(1, 12)]
    line = [(start[0] + s * (end[0] - start[0]), start[1] + s * (end[1] - start[1])) for s in steps]
    return sum(any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for x, y in line) for b in boxes)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="{kind}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _text(kind: str, x: float, y: float, anchor: str, text: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(text)}</text>'


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across * down + 1 if across > 0 and down > 0 else 0.0


def _svg(drawing: _Drawing, kind: str, ident: str, told: str) -> str:
    width, height = drawing.width, drawing.height
    inside = [*drawing.axes(), *drawing.labels(), *map(drawing.mark, drawing.points)]
    title, description = f"{ident}-{kind}-title", f"{ident}-{kind}-desc"
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        f'role="img" aria-labelledby="{title} {description}">'
        f'<title id="{title}">Score against trainable parameters</title>'
        f'<desc id="{description}">{escape(told)}</desc>{"".join(inside)}</svg>'
    )


def plot(board: Json, block: int) -> str:
    """The plot of one block with its legend and its numbers in words."""
    rows = board["blocks"][block]["rows"]
    shown = points(rows)
    if not shown:
        return "<p>No recipe has an average score to draw yet.</p>"
    best = max(shown, key=lambda p: p.raw)
    told = (
        f"{len(shown)} recipes. Highest raw score: {best.said()}. "
        "Every point is in words in the list below the plot."
    )
    ident, score = f"plot-{block}", str(board["metric"]["column"])
    left_out = [label_of(row) for row in rows if not points([row])]
    missing = f"<p>Not in the plot, for want of an average: {escape('; '.join(left_out))}.</p>"
    items = "".join(f"<li>{escape(p.said())}</li>" for p in sorted(shown, key=lambda p: -p.raw))
    return (
        f"<figure>{_svg(_Drawing(shown, score, 900, 460), 'wide', ident, told)}"
        f"{_svg(_Drawing(shown, score, 350, 440), 'narrow', ident, told)}"
        '<figcaption><span class="key"><svg width="14" height="14" aria-hidden="true">'
        '<circle class="raw" cx="7" cy="7" r="3.5"/></svg> raw, with its 95% interval</span> '
        '<span class="key"><svg width="14" height="14" aria-hidden="true">'
        '<circle class="first" cx="7" cy="7" r="5.5"/></svg> first line</span> '
        "<span>A long line between the two: the model does not stop. Recipes that train equally "
        "much stand beside one another; those that train nothing, at 0.</span></figcaption>"
        f"{missing if left_out else ''}"
        f"<details><summary>The plot in words</summary><ul>{items}</ul></details></figure>"
    )
