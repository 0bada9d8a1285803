"""The names above the ticket's figure: no leader crosses another, a point or a name."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as some

from mt_lottery.paper.show.callouts import NEAR, Callout, callouts

RADIUS = 2.4  # of a marker
TOP, ABOVE = 200.0, 12.0

Place = tuple[float, float]


def leader(found: Callout, points: list[Place]) -> list[Place]:
    """Its corners."""
    own = [points[index] for index in found.members]
    return [*own, (own[-1][0], TOP), (found.at, TOP + ABOVE)]


def distance(one: Place, other: Place, at: Place) -> float:
    """From a point to a straight line between two."""
    (x, y), (x2, y2) = one, other
    long = (x2 - x) ** 2 + (y2 - y) ** 2
    share = 0 if long == 0 else ((at[0] - x) * (x2 - x) + (at[1] - y) * (y2 - y)) / long
    share = min(1.0, max(0.0, share))
    x, y = x + share * (x2 - x), y + share * (y2 - y)
    return float(((at[0] - x) ** 2 + (at[1] - y) ** 2) ** 0.5)


def meet(one: tuple[Place, Place], other: tuple[Place, Place]) -> bool:
    """Whether two straight lines have any point in common, their ends included."""

    def side(a: Place, b: Place, c: Place) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    def beside(a: Place, b: Place, c: Place) -> bool:
        return side(a, b, c) == 0 and distance(a, b, c) < 1e-9

    (a, b), (c, d) = one, other
    if side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0:
        return True
    return beside(a, b, c) or beside(a, b, d) or beside(c, d, a) or beside(c, d, b)


spread = some.tuples(some.floats(0, 300), some.floats(10, 190))
clustered = some.tuples(some.sampled_from([100.0, 101.5, 104.0, 108.0, 290.0]),
                        some.sampled_from([50.0, 51.0, 120.0]))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    some.lists(some.tuples(spread | clustered, some.floats(3, 90)), min_size=1, max_size=9),
    some.sampled_from([120.0, 300.0]),
)
def test_no_leader_crosses_another_a_point_or_a_name(
    given_points: list[tuple[Place, float]], end: float
) -> None:
    points, widths = [p for p, _ in given_points], [w for _, w in given_points]
    found = callouts(points, widths, (0.0, end), comma=4.0, apart=6.0)
    shown = sorted(index for each in found for index in each.members)
    assert shown == list(range(len(shown))) and shown  # the first ones
    lines = [leader(each, points) for each in found]
    for (one, line), (two, beside) in combinations(zip(found, lines, strict=True), 2):
        for part in pairwise(line):
            for other in pairwise(beside):
                assert not meet(part, other)
        # names are apart, and in the room
        assert two.at - two.wide / 2 - (one.at + one.wide / 2) > 5.9
    for each, line in zip(found, lines, strict=True):
        assert each.at - each.wide / 2 > -1e-6 and each.at + each.wide / 2 < end + 1e-6
        for index in shown:
            if index not in each.members:
                for part in pairwise(line):
                    assert distance(*part, points[index]) > min(RADIUS, NEAR)


def test_a_name_is_above_its_point_where_there_is_room() -> None:
    found = callouts([(50.0, 9.0), (150.0, 8.0)], [20.0, 20.0], (0, 200), comma=4, apart=6)
    assert [(each.members, each.at) for each in found] == [([0], 50.0), ([1], 150.0)]


def test_points_above_one_another_share_a_leader() -> None:
    points = [(50.0, 9.0), (51.0, 12.0), (90.0, 8.0)]
    (one, two) = callouts(points, [20.0, 30.0, 5.0], (0, 200), comma=4, apart=6)
    assert (one.members, one.wide, two.members) == ([0, 1], 54.0, [2])


def test_without_room_the_first_are_named() -> None:
    points = [(10.0 * x, 9.0) for x in range(9)]
    found = callouts(points, [60.0] * 9, (0, 130), comma=4, apart=6)
    assert [each.members for each in found] == [[0], [1]]
    assert callouts(points, [200.0] * 9, (0, 130), comma=4, apart=6) == []
    assert callouts([], [], (0, 130), comma=4, apart=6) == []
