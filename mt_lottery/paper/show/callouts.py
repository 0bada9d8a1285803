"""Names above a plot, each with a leader to its points: none crosses another, or a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mt_lottery.scoring.metric import Floats

NEAR = 5.0  # points across: nearer ones have a leader in common, and a name beside the other


class Callout(NamedTuple):
    """One leader with its name or names.

    Attributes:
        members: numbers of its points, from the lowest to the highest: the way of the leader.
        at: where the name's middle is, across.
        wide: width of the name.
    """

    members: list[int]
    at: float
    wide: float


def callouts(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    room: tuple[float, float],
    *,
    comma: float,
    apart: float,
) -> list[Callout]:
    """Where names are in a line above a plot, so that straight leaders keep their order.

    A leader goes up from its point, or through all points that are nearly above one another, and
    from the upper edge slantwise to its name.  As names are in the order of their leaders, none
    crosses another; and as the points that are named are the highest, there is none in its way.

    Args:
        points: across and up, the most important first.
        widths: of their names.
        room: from where to where names may be.
        comma: width of what separates names with one leader.
        apart: least distance of two names.

    Returns:
        from left to right, for as many of the first points as there is room for.
    """
    for count in range(len(points), 0, -1):
        groups: list[list[int]] = []
        for index in sorted(range(count), key=lambda i: points[i]):
            if groups and points[index][0] - points[groups[-1][-1]][0] < NEAR:
                groups[-1].append(index)
            else:
                groups.append([index])
        wide = [sum(widths[i] for i in g) + comma * (len(g) - 1) for g in groups]
        if sum(wide) + apart * (len(groups) - 1) <= room[1] - room[0]:
            break
    else:
        return []
    for group in groups:
        group.sort(key=lambda i: points[i][1])
    aims = np.array([points[group[-1]][0] for group in groups])
    middles = _apart(aims, np.array(wide), room, apart)
    return [Callout(*each) for each in zip(groups, middles.tolist(), wide, strict=True)]


def _apart(aims: Floats, wide: Floats, room: tuple[float, float], apart: float) -> Floats:
    """Middles in the order of their aims, as near to them as widths and room allow."""
    from scipy.optimize import isotonic_regression

    steps = np.concatenate([[0.0], np.cumsum((wide[1:] + wide[:-1]) / 2 + apart)])
    low, high = room[0] + wide[0] / 2, room[1] - wide[-1] / 2 - steps[-1]
    found: Floats = isotonic_regression(aims - steps).x.clip(low, max(low, high)) + steps
    return found
