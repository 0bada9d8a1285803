"""A curve's best size on dev and its smallest that will do, on numbers made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mt_lottery.paper.sweep.curve import (
    Point,
    best_on_dev,
    best_on_test,
    smallest_sufficient,
)
from mt_lottery.scoring.significance import Bootstrap, Difference, Interval

Floats = NDArray[np.float64]


def point(size: int | None, *dev: float, raw: float = 0.0, state: str = "done") -> Point:
    scores = {which: Interval(raw, None, (raw, raw)) for which in ("raw", "first_line")}
    return Point(size, state, scores=scores, dev=list(dev))


def mean(totals: Floats) -> float:
    """A score that one can do by hand: hits over sentences, times 100."""
    return float(100 * totals[0] / totals[1])


def statistics(*hits: float) -> Floats:
    return np.array([[hit, 1.0] for hit in hits])


def compare(
    own: list[Floats], reference: list[Floats], resamples: int = 1000, *names: str
) -> Difference:
    first, second = names or ("own", "reference")
    bootstrap = Bootstrap(mean, resamples)
    return bootstrap.scores(own, first).minus(bootstrap.scores(reference, second))


def test_the_size_that_is_best_on_dev_is_chosen_without_the_test_scores() -> None:
    points = [point(1, 3.0, raw=9.0), point(5, 7.0, raw=1.0), point(18, 6.9, raw=8.0)]
    chosen = best_on_dev(points)
    assert chosen is not None and chosen.size == 5
    best = best_on_test(points, "raw")
    assert best is not None and best.size == 1


def test_the_dev_score_of_several_seeds_is_their_mean() -> None:
    # 5 rows have the best single seed, 18 the best mean
    chosen = best_on_dev([point(1, 3.0, 3.0), point(5, 9.0, 1.0), point(18, 5.5, 5.0)])
    assert chosen is not None and chosen.size == 18


def test_of_two_equal_sizes_the_smaller_one_is_chosen_in_any_order() -> None:
    chosen = best_on_dev([point(400, 7.0), point(18, 7.0), point(5, 2.0)])
    assert chosen is not None and chosen.size == 18
    best = best_on_test([point(400, raw=7.0), point(18, raw=7.0)], "first_line")
    assert best is not None and best.size == 18


def test_no_choice_where_a_dev_score_is_missing_and_failed_sizes_do_not_count() -> None:
    assert best_on_dev([]) is None
    assert best_on_dev([point(1, 3.0), point(5)]) is None
    chosen = best_on_dev([point(1, 3.0), point(5, state="failed")])
    assert chosen is not None and chosen.size == 1
    assert best_on_test([point(5, state="failed")], "raw") is None


def verdict(difference: float, pvalue: float) -> Difference:
    return Difference(difference, (difference - 1, difference + 1), pvalue)


def test_smallest_size_that_is_not_significantly_below() -> None:
    # 5 rows: far below, 18: below but by chance, 100: above
    found = {400: verdict(-0.1, 0.9), 5: verdict(-9, 0.001), 18: verdict(-2, 0.051),
             1: verdict(-12, 0.001), 100: verdict(1, 0.4)}  # fmt: skip
    assert smallest_sufficient(found) == 18
    assert smallest_sufficient({1: verdict(-12, 0.001), 5: verdict(-9, 0.05)}) is None
    assert smallest_sufficient({}) is None
    # significantly better is as good as the reference, too
    assert smallest_sufficient({5: verdict(4, 0.001), 18: verdict(-2, 0.2)}) == 5


def test_a_system_that_is_worse_by_the_same_in_every_sentence() -> None:
    low, high = statistics(*range(8)), statistics(*range(1, 9))
    found = compare([low], [high], 99)
    # every resample differs by 100: none of the 99 is as far from their mean
    assert found.difference == pytest.approx(-100)
    assert found.ci95 == pytest.approx((-100, -100))
    assert found.pvalue == pytest.approx(1 / 100)
    assert found.worse and not compare([high], [low], 99).worse
    # five sentences, of which each is worse, happen by chance once in 2^4
    assert compare([low[:5]], [high[:5]], 99).pvalue == 1 / 16


def test_a_system_against_itself() -> None:
    own = statistics(0, 1, 1, 0)
    found = compare([own], [own.copy()])
    assert (found.difference, found.ci95, found.pvalue) == (0, (0, 0), 1)
    assert not found.worse


def test_the_pvalue_is_that_of_all_resamples() -> None:
    """Three sentences have 27 resamples: what the draws come near to is counted out by hand."""
    own, other = statistics(0, 1, 1), statistics(3, 0, 0)
    # per sentence the difference is -3, 1, 1; with k times the first one among the three drawn,
    # k ~ Binomial(3, 1/3), a resample's mean is (3 - 4k)/3: 1, -1/3, -5/3 or -3. From the
    # expected -1/3 all but k = 1 are as far as -1/3 is from 0: 1 - 4/9
    found = compare([own], [other], 20_000)
    assert found.difference == pytest.approx(-100 / 3)
    assert found.pvalue == pytest.approx(5 / 9, abs=0.02)
    assert found.ci95 == pytest.approx((-300, 100))  # k = 3 in 1 of 27, k = 0 in 8 of 27


def test_several_seeds_are_averaged() -> None:
    own, other = [statistics(0, 0), statistics(1, 1)], [statistics(1, 1), statistics(1, 1)]
    found = compare(own, other, 1000, "a", "b")
    assert found.difference == pytest.approx(-50)
    # two seeds that are 100 apart: drawn again, the difference is anything from -100 to 0
    assert found.ci95 == pytest.approx((-100, 0)) and not found.worse


hits = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)


@given(hits)
def test_a_comparison_turned_round(pairs: Any) -> None:
    first, second = (statistics(*side) for side in zip(*pairs, strict=True))
    one = compare([first], [second], 200)
    two = compare([second], [first], 200)
    assert one.difference == pytest.approx(-two.difference)
    assert one.ci95 == pytest.approx((-two.ci95[1], -two.ci95[0]))
    assert one.pvalue == pytest.approx(two.pvalue)
    assert not (one.worse and two.worse)
    assert 0 < one.pvalue <= 1
