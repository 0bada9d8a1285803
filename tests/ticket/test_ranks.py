"""Ranks and histograms, against SciPy, NumPy and small examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mt_lottery.errors import TuningError
from mt_lottery.ticket.ks import ks_test
from mt_lottery.ticket.rows import as_rows, histogram, largest_tie, normalised_ranks, summarise


def test_ranks_by_hand() -> None:
    scores = torch.tensor([0.5, -1.0, 3.0, 0.5, -math.inf])
    assert normalised_ranks(scores).tolist() == [0.625, 0.25, 1.0, 0.625, 0.0]
    assert normalised_ranks(torch.tensor([4.0])).tolist() == [1.0]
    assert normalised_ranks(torch.tensor([])).tolist() == []
    with pytest.raises(TuningError, match="NaN"):
        normalised_ranks(torch.tensor([1.0, math.nan]))


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=30))
def test_ranks_count_the_rows_below(scores: list[int]) -> None:
    ranks = normalised_ranks(torch.tensor(scores, dtype=torch.float64)).tolist()
    for score, rank in zip(scores, ranks, strict=True):
        below, level = sum(s < score for s in scores), scores.count(score)
        assert rank == pytest.approx((below + (level - 1) / 2) / (len(scores) - 1))


@given(st.integers(1, 700), st.lists(st.integers(0, 700), max_size=40), st.integers(1, 30))
def test_histogram_holds_each_row_once(d: int, counts: list[int], bins: int) -> None:
    statistic = torch.tensor([min(c, d) / d for c in counts], dtype=torch.float64)
    found = histogram(statistic, 1 / d, bins)
    assert len(found.counts) <= bins and sum(found.counts) + found.unmoved == len(counts)
    widths = np.diff(found.edges) * d
    assert np.allclose(widths, np.round(widths)) and (len(set(np.round(widths))) <= 1)
    for left, right, number in zip(found.edges, found.edges[1:], found.counts, strict=False):
        inside = (statistic > left + 1e-9) & (statistic <= right + 1e-9)
        assert int(inside.sum()) == number


def test_histogram_needs_a_step() -> None:
    with pytest.raises(TuningError, match="above 0"):
        histogram(torch.zeros(3), 0.0)


def test_rows_of_a_parameter() -> None:
    assert as_rows(torch.zeros(5)).shape == (1, 5)
    assert as_rows(torch.tensor(1.0)).shape == (1, 1)
    assert as_rows(torch.zeros(3, 4)).shape == (3, 4)
    assert as_rows(torch.arange(24).reshape(2, 3, 4))[4].tolist() == [16, 17, 18, 19]


def test_summary_by_hand() -> None:
    statistic = torch.tensor([0.0, 0.5, 0.25, 0.25])
    found = summarise(statistic, torch.tensor([1.0, 0.01, 0.05, 0.2]), 0.05, 8)
    assert (found.rows, found.changed, found.rejected, found.dimension) == (4, 3, 2, 8)
    assert (found.share, found.largest, found.median) == (0.5, 0.5, 0.25)
    assert summarise(torch.tensor([0.0, 1.0]), torch.ones(2), 0, 8).median == 0.5
    for statistic, pvalue, alpha in (
        (torch.zeros(0), torch.zeros(0), 0.5),
        (torch.zeros(2), torch.zeros(3), 0.5),
        (torch.zeros(2), torch.zeros(2), 1.5),
    ):
        with pytest.raises(TuningError):
            summarise(statistic, pvalue, alpha, 8)


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12))
def test_largest_tie_is_the_most_common_value(values: list[int]) -> None:
    rows = torch.tensor([values, values[::-1]], dtype=torch.float32)
    share = max(values.count(v) for v in values) / len(values)
    assert largest_tie(rows).tolist() == [share, share]


def test_breaking_a_tie_makes_a_distance_of_its_size() -> None:
    """A move of one part in a million: D is the share that was tied."""
    before = torch.randn(1, 100, dtype=torch.float64)
    before[0, :30] = 0.5
    moved = before + 1e-6
    assert float(ks_test(before, moved).statistic) == pytest.approx(0.3)
    assert float(largest_tie(before)) == pytest.approx(0.3)
