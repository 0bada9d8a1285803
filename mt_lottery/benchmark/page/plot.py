"""Score against trained parameters: where each recipe's scores stand, and each name.

Drawn twice, for a wide and for a narrow screen, so that the writing keeps its size on a phone;
the template makes SVG of it, and the style sheet shows one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from mt_lottery.benchmark.page.labels import Box, Named, Spot, place, width
from mt_lottery.benchmark.page.numbers import Json, interval, number, parameters, plain
from mt_lottery.benchmark.page.rows import AVERAGE, done, label_of
from mt_lottery.errors import plural

SAME = 0.05  # scores that are written alike


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
        count: trained parameters.
        raw: average raw score.
        first_line: average first-line score, or None.
        ci95: interval of the raw score, or None.
        first_ci95: interval of the first-line score, or None.
        mark: whether it is among the best.
        x: where it is drawn.
    """

    name: str
    label: str
    count: int
    raw: float
    first_line: float | None
    ci95: tuple[float, float] | None
    first_ci95: tuple[float, float] | None
    mark: bool
    x: float = 0.0

    @property
    def apart(self) -> bool:
        """Whether the first line scores differently: the model does not stop (or stops early)."""
        return self.first_line is not None and abs(self.first_line - self.raw) >= SAME

    @property
    def whiskers(self) -> list[tuple[str, float, tuple[float, float]]]:
        """Each interval to be drawn: its class, how far beside the marks, its ends."""
        if not self.apart or self.first_ci95 is None:
            return [("raw", 0.0, self.ci95)] if self.ci95 else []
        beside = [("first", 2.2, self.first_ci95)]
        return ([("raw", -2.2, self.ci95)] if self.ci95 else []) + beside

    @property
    def scores(self) -> list[float]:
        """Those that have a mark."""
        return [score for score in (self.raw, self.first_line) if score is not None]

    @property
    def words_shown(self) -> str:
        """Its name in the plot."""
        return f"{self.name} ★" if self.mark else self.name

    def words(self) -> str:
        """The point in words."""
        text = f"{self.label}: {plural(self.count, 'trained parameter')}, raw {plain(self.raw)}"
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
            first_ends = interval(average, "first_line", "ci95")
            name, mark = str(row["method"]), bool(row.get("mark"))
            own = (name, label_of(row), int(count), raw, first, ends, first_ends, mark)
            made.append(Point(*own))
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
    """One drawing at one width; the axes are fixed when it is made.

    Args:
        points: what is in it.
        score: name of the axis of scores.
        width, height: px.
        exact: let whiskers meet, so that more recipes are where their number of parameters is.
    """

    def __init__(
        self, points: Sequence[Point], score: str, width: int, height: int, *, exact: bool = False
    ) -> None:
        self.points, self.score, self.width, self.height = points, score, width, height
        self.exact = exact
        self.left, self.right, self.top, self.bottom = 44.0, width - 14.0, 34.0, height - 46.0
        self.gap = 13.0 if width >= 500 else 9.5
        values = [v for p in points for v in p.scores]
        values += [end for p in points for _, _, both in p.whiskers for end in both]
        self.ticks = _steps(min(0.0, *values), max(values), 6)
        counts = [p.count for p in points if p.count > 0]
        # a logarithm has no zero: recipes that train nothing have a separate strip
        zeros = len(points) - len(counts)
        self.strip = max(34.0, self.gap * (zeros + 1)) if zeros else 0.0
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
        """Move recipes apart that train about equally much and score alike: they hide each other.

        Neighbours keep their order and a gap, and are moved as little as that allows (least
        squares: groups that touch are pooled and stand around their mean).  What is above or below
        of them all is not moved.
        """
        for reach in (1.0, 2.0, 4.0, math.inf):
            for part in self._parts(reach * self.gap):
                self._spread(part)
            if not any(self._hides(a, b, 0.9 * self.gap) for a, b in combinations(self.points, 2)):
                break

    def _hides(self, one: Point, other: Point, gap: float) -> bool:
        """Whether two points would be on top of each other, were they less than a gap apart."""
        (top, bottom), (top2, bottom2) = self._height(one), self._height(other)
        return abs(one.x - other.x) < gap and top < bottom2 + 12 and top2 < bottom + 12

    def _height(self, point: Point) -> tuple[float, float]:
        """From the top to the bottom of what must not be hidden of a point."""
        if self.exact and point.count > 0:  # at 0, across means nothing
            marks = [self.y(score) for score in point.scores]
            return min(marks), max(marks)
        _, top, _, bottom = self.drawn(point)[-1]
        return top, bottom

    def _parts(self, near: float) -> list[list[Point]]:
        """The points, those together that hide each other or are linked by such."""
        parts: list[list[Point]] = []
        for point in self.points:
            point.x = self.x(point.count)
        for point in sorted(self.points, key=lambda p: (p.count, p.raw)):
            linked = [part for part in parts if any(self._hides(point, p, near) for p in part)]
            parts = [part for part in parts if part not in linked]
            parts.append([p for part in linked for p in part] + [point])
        return [sorted(part, key=lambda p: (p.count, p.raw)) for part in parts]

    def _spread(self, part: Sequence[Point]) -> None:
        gap = self.gap
        groups: list[list[Point]] = []
        for point in part:
            groups.append([point])
            while len(groups) > 1 and self._end(groups[-2], gap) > self._start(groups[-1], gap):
                groups[-2:] = [groups[-2] + groups[-1]]
        for group in groups:
            start = self._start(group, gap) + gap / 2
            over = max(0.0, start + gap * (len(group) - 1) - (self.right - 6))
            for at, point in enumerate(group):
                point.x = start + gap * at - over

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
        yield Text("name", 2.0, 16.0, "start", self.score)
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
        name = "trained parameters (log scale)"
        yield Text("name", middle, self.height - 8.0, "middle", name)

    def drawn(self, point: Point) -> list[Box]:
        """What a name must not cover of one point: its circles, its whiskers, the line between."""
        boxes = [(point.x - 6, self.y(s) - 6, point.x + 6, self.y(s) + 6) for s in point.scores]
        ends = [*point.scores, *(end for _, _, both in point.whiskers for end in both)]
        wide = 3.5 if point.apart else 1.0
        return [*boxes, (point.x - wide, self.y(max(ends)), point.x + wide, self.y(min(ends)))]

    def spots(self) -> list[Spot]:
        """Where each point's name is, in the order of the points."""
        named = [
            Named(
                width(point.words_shown),
                [(point.x, self.y(score)) for score in point.scores[: 1 + point.apart]],
                self.drawn(point),
            )
            for point in self.points
        ]
        bounds = (self.left + 2, self.top - 8, self.right + 12, self.bottom - 2)
        return place(named, bounds, self.lines())

    def lines(self) -> list[Box]:
        """What no name may touch: the edge of the strip, with some room on both sides."""
        edge = self.left + self.strip
        return [(edge - 3, self.top, edge + 3, self.bottom)] if self.strip else []

    def labels(self) -> Iterator[Line | Text]:
        """The names, and the leaders of those that are not beside their point."""
        spots = self.spots()
        for spot in spots:
            if spot.leader:
                (x, y), (x2, y2) = spot.leader
                yield Line("leader", x, y, x2, y2)
        for point, spot in zip(self.points, spots, strict=True):
            kind = "label best" if point.mark else "label"
            yield Text(kind, spot.x, spot.y + 4, spot.anchor, point.words_shown)
