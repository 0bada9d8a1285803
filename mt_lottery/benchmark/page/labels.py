"""Where the names in a plot are: near their marks, over nothing, and no leader across anything."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

LINE = 15.0  # px, height of a label
NEAR = 12.0  # px, how far a name may be from its mark without a leader
ROUNDS = 3  # a name that was placed early may find a better place once all others are known
ORDERS = 16  # in which names choose, where some are still at odds
#: px, the widths of letters of 12.5 px in the widest of the fonts that the style sheets name.
WIDTHS = {4.0: "ijl.,:;'|!", 6.0: "frt ()[]-_/", 12.5: "mwMW@%★"}
_WIDTH_OF = {letter: wide for wide, letters in WIDTHS.items() for letter in letters}
Box = tuple[float, float, float, float]
Place = tuple[float, float]


def width(text: str) -> float:
    """How wide a name is, px; a little more than it needs."""
    return sum(_WIDTH_OF.get(x, 8.1 if x <= "Z" or "a" <= x <= "ʯ" else 12.5) for x in text)


class Spot(NamedTuple):
    """A name: its box, where its text starts, its anchor, and a leader where it needs one."""

    box: Box
    x: float
    y: float
    anchor: str
    leader: tuple[Place, Place] | None


@dataclass(frozen=True)
class Named:
    """What a name is to be put beside.

    Attributes:
        wide: width of the name.
        marks: where its marks are; the name may be at any of them.
        boxes: what is drawn of it, which no name and no other's leader may cover.
    """

    wide: float
    marks: Sequence[Place]
    boxes: Sequence[Box]


def place(all_named: Sequence[Named], bounds: Box, lines: Sequence[Box] = ()) -> list[Spot]:
    """A spot for each name: the nearest of those that cover the least.

    Args:
        all_named: what to name.
        bounds: where names may be.
        lines: what no name may touch; leaders may cross it.
    """
    drawn = [box for named in all_named for box in named.boxes]
    tries = [sorted(_spots(named, bounds, lines), key=lambda each: each[0]) for named in all_named]
    # those with the least room choose first; then those that found none, in any order
    order = sorted(range(len(all_named)), key=lambda i: -_crowd(all_named[i], drawn))
    draw = random.Random(0)
    best: list[Spot] = []
    least = len(order) + 1
    for _ in range(ORDERS):
        spots = _arranged(all_named, tries, drawn, order)
        at_odds = [
            index
            for index in order
            if _covered(spots[index], all_named[index], drawn, _without(spots, index))
        ]
        if len(at_odds) < least:
            best, least = [spots[index] for index in range(len(all_named))], len(at_odds)
        if not at_odds:
            break
        rest = [index for index in order if index not in at_odds]
        order = draw.sample(at_odds, len(at_odds)) + rest
    return best


def _arranged(
    all_named: Sequence[Named],
    tries: Sequence[Sequence[tuple[float, Spot]]],
    drawn: Sequence[Box],
    order: Sequence[int],
) -> dict[int, Spot]:
    spots: dict[int, Spot] = {}
    for _ in range(ROUNDS):
        before = dict(spots)
        for index in order:
            spots[index] = _best(all_named[index], tries[index], drawn, _without(spots, index))
        if spots == before:
            break
    return spots


def _without(spots: Mapping[int, Spot], index: int) -> list[Spot]:
    return [spot for other, spot in spots.items() if other != index]


def _crowd(named: Named, drawn: Sequence[Box]) -> int:
    x, y = named.marks[0]
    return sum(b[0] < x + 70 and b[2] > x - 70 and b[1] < y + 40 and b[3] > y - 40 for b in drawn)


def _best(
    named: Named,
    tries: Sequence[tuple[float, Spot]],
    drawn: Sequence[Box],
    others: Sequence[Spot],
) -> Spot:
    x, y = named.marks[0]
    # no room in the bounds: a name across its mark
    least, best = 1e9, Spot((x, y, x + named.wide, y + LINE), x, y, "start", None)
    for far, spot in tries:
        cost = far + 1000 * _covered(spot, named, drawn, others)
        if cost < least:
            least, best = cost, spot
        if cost < 1000:  # the nearest that covers nothing
            break
    return best


def _spots(named: Named, bounds: Box, lines: Sequence[Box]) -> Iterator[tuple[float, Spot]]:
    """Every place inside the bounds and on no line, with how far from its mark that is."""
    middle = [d * s for d in (12, 26) for s in (1, -1)] + [0]
    for (x, y), down in product(named.marks, range(-132, 133, 6)):
        above_or_below = abs(down) >= LINE / 2 + 7
        tries = [(x + across, "middle") for across in middle if above_or_below]
        for across in (9, 16, 26, 40, 58, 80, 106, 134):
            tries += [(x + across, "start"), (x - across, "end")]
        for at, anchor in tries:
            spot = _spot(named, at, y + down, anchor, (x, y))
            left, top, right, bottom = spot.box
            inside = left >= bounds[0] and right <= bounds[2]
            inside = inside and top >= bounds[1] and bottom <= bounds[3]
            if inside and not any(overlap(spot.box, line) for line in lines):
                far = _far(spot.box, (x, y)) + 0.2 * abs(down) + 0.1 * abs(at - x)
                yield far + (6 if spot.leader else 0), spot


def _spot(named: Named, x: float, y: float, anchor: str, mark: Place) -> Spot:
    left = x - named.wide * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
    box = (left, y - LINE / 2, left + named.wide, y + LINE / 2)
    if _far(box, mark) <= NEAR:
        return Spot(box, x, y, anchor, None)
    return Spot(box, x, y, anchor, (mark, _nearest(box, mark)))


def _covered(spot: Spot, named: Named, drawn: Sequence[Box], others: Sequence[Spot]) -> int:
    """How many things a name or its leader would cover, or would be covered by."""
    found = sum(overlap(spot.box, box) for box in drawn)
    found += sum(overlap(spot.box, other.box) for other in others)
    if found:  # no place for it: what its leader crosses does not matter
        return found + 3
    found += sum(other.leader is not None and cuts(*other.leader, spot.box) for other in others)
    if spot.leader is None:
        # a name without a leader belongs to what is nearest
        nearest = min((_far(spot.box, _middle(b)) for b in drawn if b not in named.boxes),
                      default=1e9)  # fmt: skip
        return found + (nearest < min(_far(spot.box, mark) for mark in named.marks))
    found += sum(cuts(*spot.leader, box) for box in drawn if box not in named.boxes)
    found += sum(cuts(*spot.leader, other.box) for other in others)
    return found + sum(
        other.leader is not None and cross(spot.leader, other.leader) for other in others
    )


def _middle(box: Box) -> Place:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _nearest(box: Box, mark: Place) -> Place:
    """The point of a box that is nearest to a mark."""
    return min(max(mark[0], box[0]), box[2]), min(max(mark[1], box[1] + 3), box[3] - 3)


def _far(box: Box, mark: Place) -> float:
    x, y = _nearest(box, mark)
    return float(((x - mark[0]) ** 2 + (y - mark[1]) ** 2) ** 0.5)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have a part in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def cuts(start: Place, end: Place, box: Box) -> bool:
    """Whether a straight line has a part inside a box (Liang and Barsky 1984)."""
    enter, leave = 0.0, 1.0
    for axis in (0, 1):
        step = end[axis] - start[axis]
        low, high = box[axis] - start[axis], box[axis + 2] - start[axis]
        if step == 0:
            if low >= 0 or high <= 0:
                return False
            continue
        first, last = sorted((low / step, high / step))
        enter, leave = max(enter, first), min(leave, last)
    return enter < leave


def cross(one: tuple[Place, Place], other: tuple[Place, Place]) -> bool:
    """Whether two straight lines have a point in common that is inside both."""

    def side(line: tuple[Place, Place], at: Place) -> float:
        (x, y), (x2, y2) = line
        return (x2 - x) * (at[1] - y) - (y2 - y) * (at[0] - x)

    return (
        side(one, other[0]) * side(one, other[1]) < 0
        and side(other, one[0]) * side(other, one[1]) < 0
    )
