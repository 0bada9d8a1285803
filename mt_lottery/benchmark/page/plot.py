"""Score against trainable parameters: where each recipe's scores stand, and each name.

Drawn twice, for a wide and for a narrow screen, so that the writing keeps its size on a phone;
the template makes SVG of it, and the style sheet shows one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mt_lottery.benchmark.page.numbers import Json, interval, number, parameters, plain
from mt_lottery.benchmark.page.rows import AVERAGE, done, label_of

LETTER = 6.9  # px, the mean width of a letter of the labels; a little more than it needs
LINE = 15.0  # px, height of a label
Box = tuple[float, float, float, float]
Spot = tuple[Box, float, float, str]  # of a name: its box, where it starts, how it is anchored
#: How far across and down a name may be from its point, the nearest first.
PLACES = sorted(
    ((across, down) for across in (9, 22, 40, 60, 85, 115, 150) for down in range(-186, 187, 6)),
    key=lambda place: place[0] + 1.5 * abs(place[1]),
)


class Line(NamedTuple):
    """A line from one place to another, of a class of the style sheet."""

    kind: str
    x: float
    y: float
    x2: float
    y2: float


class Text(NamedTuple):
    """Words at a place, of a class of the style sheet; ``anchor`` is SVG's ``text-anchor``."""

    kind: str
    x: float
    y: float
    anchor: str
    words: str


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

    def words(self) -> str:
        """The point in words."""
        text = f"{self.label}: {self.count:,} trainable parameters, raw {plain(self.raw)}"
        if self.ci95:
            text += f" (95% interval {plain(self.ci95[0])} to {plain(self.ci95[1])})"
        if self.first_line is not None:
            text += f", first line {plain(self.first_line)}"
        return text + (", best or not significantly worse" if self.mark else "")


def points(rows: Sequence[Json]) -> list[Point]:
    """The recipes that have an average score and a number of parameters."""
    made = []
    for row in rows:
        average = done(row, AVERAGE)
        count, raw = number(row, "trainable_parameters"), number(average, "raw", "score")
        if count is not None and raw is not None:
            first = number(average, "first_line", "score")
            ends = interval(average, "raw", "ci95")
            name, mark = str(row["method"]), bool(row.get("mark"))
            made.append(Point(name, label_of(row), int(count), raw, first, ends, mark))
    return made


def _steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers from below ``low`` to above ``high``, about ``most`` of them."""
    rough = max((high / most - low / most), 1e-9) if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)  # all scores 0: an axis needs two ends
    return [step * each for each in range(first, last + 1)]


class Drawing:
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
        """Where a number of parameters is, across."""
        start = self.left + self.strip + (12 if self.strip else 4)
        if count <= 0:
            return self.left + self.strip / 2
        share = (math.log10(count) - self.low) / (self.high - self.low)
        return start + share * (self.right - 12 - start)

    def y(self, score: float) -> float:
        """Where a score is, from the top down."""
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

    def shapes(self) -> list[Line | Text]:
        """The axes, and the names with the lines to their points."""
        return [*self.axes(), *self.labels()]

    def axes(self) -> Iterator[Line | Text]:
        """Grid, ticks and the names of both axes."""
        for tick in self.ticks:
            y = self.y(tick)
            yield Line("grid", self.left, y, self.right, y)
            yield Text("tick", self.left - 7, y + 4, "end", f"{tick:g}")
        yield Text("name", 2.0, 16.0, "start", f"{self.score}, average")
        base = self.bottom + 18
        if self.strip:
            yield Text("tick", self.x(0), base, "middle", "0")
            edge = self.left + self.strip
            yield Line("edge", edge, self.top, edge, self.bottom)
        room = (self.right - self.left - self.strip) / (self.high - self.low + 1)
        every = math.ceil(38 / room)  # a narrow drawing has no room to name each power of ten
        for power in range(self.low, self.high + 1):
            x = self.x(10**power)
            yield Line("edge", x, self.bottom, x, self.bottom + 5)
            if (power - self.low) % every == 0:
                yield Text("tick", x, base, "middle", parameters(10**power).replace(".0", ""))
        middle = (self.left + self.right) / 2
        name = "trainable parameters (log scale)"
        yield Text("name", middle, self.height - 8.0, "middle", name)

    def obstacles(self, point: Point) -> list[Box]:
        """What a name must not cover of one point: its circles and its whisker."""
        scores = [s for s in (point.raw, point.first_line) if s is not None]
        boxes = [(point.x - 6, self.y(s) - 6, point.x + 6, self.y(s) + 6) for s in scores]
        ends = [*scores, *(point.ci95 or ())]
        return [*boxes, (point.x - 1, self.y(max(ends)), point.x + 1, self.y(min(ends)))]

    def labels(self) -> Iterator[Line | Text]:
        """Each name where it covers nothing, as near to its point as that allows."""
        taken = [box for point in self.points for box in self.obstacles(point)]
        for point in sorted(self.points, key=lambda p: (-p.x, -p.raw)):
            text = f"{point.name} ★" if point.mark else point.name
            spots = list(self.spots(point, LETTER * len(text)))
            free = [s for s in spots if not any(_overlap(s[0], box) for box in taken)]
            box, x, y, anchor = (free or spots)[0]
            taken.append(box)
            if abs(x - point.x) > 14 or abs(y - self.y(point.raw)) > 10:
                yield Line("leader", point.x, self.y(point.raw), x, y)
            yield Text("label best" if point.mark else "label", x, y + 4, anchor, text)

    def spots(self, point: Point, wide: float) -> Iterator[Spot]:
        """Places for a name of that width, from the nearest on."""
        for across, down in PLACES:
            y = self.y(point.raw) + down
            if not self.top - 8 <= y - LINE / 2 <= self.bottom - 1.5 * LINE:
                continue
            if (x := point.x + across) + wide <= self.right + 12:
                yield (x, y - LINE / 2, x + wide, y + LINE / 2), x, y, "start"
            if (x := point.x - across) - wide >= self.left + 2:
                yield (x - wide, y - LINE / 2, x, y + LINE / 2), x, y, "end"
        x, y = self.left + 2, self.y(point.raw)  # there is always one, if only across its point
        yield (x, y - LINE / 2, x + wide, y + LINE / 2), x, y, "start"


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
