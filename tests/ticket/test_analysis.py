"""Tickets against each other and against chance: hand-computed, SciPy, hypothesis."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mt_lottery.errors import TuningError
from mt_lottery.ticket import analysis as a

tickets = st.sets(st.integers(0, 30), min_size=1, max_size=12)


def test_shared_by_hand() -> None:
    three = [{5, 1, 9}, {1, 9}, {9, 2}]
    assert list(a.shared_by(three).items()) == [(9, 3), (1, 2), (2, 1), (5, 1)]
    assert [a.group_of(n, 3) for n in (3, 2, 1)] == ["all", "most", "one"]
    assert [a.group_of(n, 4) for n in (4, 3, 2, 1)] == ["all", "most", "some", "one"]
    assert [a.group_of(n, 2) for n in (2, 1)] == ["all", "one"]
    assert a.jaccard({1, 2, 3}, {2, 3, 4, 5}) == 2 / 5
    assert a.overlap_coefficient({1, 2, 3}, {2, 3, 4, 5}) == 2 / 3
    assert a.jaccard([], []) == 1.0
    with pytest.raises(TuningError, match="empty ticket"):
        a.overlap_coefficient([], [1])


@given(tickets, tickets)
def test_overlap_measures(one: set[int], other: set[int]) -> None:
    j, o = a.jaccard(one, other), a.overlap_coefficient(one, other)
    assert 0 <= j <= o <= 1
    assert (j, o) == (a.jaccard(other, one), a.overlap_coefficient(other, one))
    assert (o == 1) == (one <= other or other <= one)
    assert (j == 1) == (one == other)


@given(st.lists(tickets, min_size=1, max_size=5))
def test_every_token_is_counted_once_for_each_ticket(several: list[set[int]]) -> None:
    counts = a.shared_by(several)
    assert sum(counts.values()) == sum(map(len, several))
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


distances = st.lists(st.integers(0, 8), min_size=1, max_size=30)


@given(st.data())
def test_rank_correlation_is_scipys_over_the_rows_that_changed(data: st.DataObject) -> None:
    one = np.array(data.draw(distances)) / 8
    other = np.array([data.draw(st.integers(0, 8)) for _ in one]) / 8
    for both in (False, True):
        meant = (one > 0) & (other > 0) if both else (one > 0) | (other > 0)
        found, rows = a.rank_correlation(torch.tensor(one), torch.tensor(other), both=both)
        assert rows == meant.sum()
        if found is None:
            assert rows < 2 or np.ptp(one[meant]) == 0 or np.ptp(other[meant]) == 0
            continue
        ranks = [stats.rankdata(x[meant]) for x in (one, other)]
        assert found == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-12)


def test_rows_that_changed_in_one_only_turn_the_correlation() -> None:
    one = torch.tensor([0.4, 0.3, 0.0, 0.0, 0.0], dtype=torch.float64)
    other = torch.tensor([0.0, 0.0, 0.3, 0.4, 0.0], dtype=torch.float64)
    # ranks 4, 3, 1.5, 1.5 and 1.5, 1.5, 3, 4: covariance −4, each variance 4.5
    found, rows = a.rank_correlation(one, other)
    assert (found, rows) == (pytest.approx(-4 / 4.5), 4)
    assert a.rank_correlation(one, other, both=True) == (None, 0)


def test_overlap_at_breaks_ties_by_token_id() -> None:
    one = torch.tensor([0.1, 0.5, 0.1, 0.1, 0.0], dtype=torch.float64)
    other = torch.tensor([0.1, 0.1, 0.0, 0.4, 0.2], dtype=torch.float64)
    # 1 0 2 3 against 3 4 0 1
    assert a.most_changed(one, 4).tolist() == [1, 0, 2, 3]
    assert a.overlap_at(one, other, [1, 2, 3, 4, 5]) == {
        1: 0.0, 2: 0.0, 3: 1 / 3, 4: 3 / 4, 5: None,
    }  # fmt: skip
    with pytest.raises(TuningError, match="4 rows have changed"):
        a.most_changed(one, 5)
    with pytest.raises(TuningError, match="two vocabularies"):
        a.overlap_at(one, other[:3], [1])


@given(st.lists(st.integers(0, 6), min_size=3, max_size=25))
def test_a_measurement_overlaps_with_itself(values: list[int]) -> None:
    d = torch.tensor(values, dtype=torch.float64) / 6
    changed = int((d > 0).sum())
    found = a.overlap_at(d, d, range(1, len(values) + 1))
    assert found == {k: 1.0 if k <= changed else None for k in found}


def test_unchanged_rows_is_scipys_test_at_one_alpha_twice() -> None:
    generator = torch.Generator().manual_seed(3)
    size, k, d = 40, 12, 64
    tuned = torch.randn(k, d, generator=generator)
    shift = torch.linspace(0, 1.5, k)[:, None]
    transferred = torch.randn(k, d, generator=generator) + shift
    ids = torch.tensor(range(0, 2 * k, 2))
    pvalue = torch.rand(size, generator=generator, dtype=torch.float64)
    alphas = [0.0, 0.05, 0.3, 0.7, 0.95, 1.0]
    tests = [stats.ks_2samp(x, y) for x, y in zip(tuned.numpy(), transferred.numpy(), strict=True)]
    for level, alpha in zip(
        a.unchanged_rows(pvalue, ids, tuned, transferred, alphas), alphas, strict=True
    ):
        inside = [i for i in range(k) if pvalue[ids[i]] <= alpha]
        kept = [i for i in inside if tests[i].pvalue > alpha]
        assert (level.alpha, level.compared, level.unchanged) == (alpha, len(inside), len(kept))
        assert level.ticket == sum(p <= alpha for p in pvalue.tolist())
        assert level.share == (len(kept) / len(inside) if inside else None)
        assert level.whole == (0 < level.ticket == level.compared)
        if inside:
            found = [tests[i].statistic for i in inside]
            assert level.median_distance == pytest.approx(np.median(found), abs=1e-12)
            assert level.largest_distance == pytest.approx(max(found), abs=1e-12)
    assert level.share == 0.0  # α = 1 rejects every row


def test_unchanged_rows_refuses_what_does_not_fit() -> None:
    one = torch.zeros(2, 4)
    with pytest.raises(TuningError, match=r"alpha must be a number in \[0, 1\], got 1.5"):
        a.unchanged_rows(torch.ones(5).double(), torch.tensor([0, 1]), one, one, [1.5])
    with pytest.raises(TuningError, match="3 token ids for 2 rows"):
        a.unchanged_rows(torch.ones(5).double(), torch.tensor([0, 1, 2]), one, one, [0.5])
    (same,) = a.unchanged_rows(torch.zeros(5).double(), torch.tensor([0, 1]), one, one, [0.5])
    assert same.share == 1.0


def test_empirical_p_by_hand() -> None:
    null = torch.tensor([0.1, 0.2, 0.2, 0.3])
    d = torch.tensor([0.05, 0.1, 0.2, 0.25, 0.3, 0.4])
    assert a.empirical_pvalues(d, null).tolist() == [1.0, 1.0, 4 / 5, 2 / 5, 2 / 5, 1 / 5]
    with pytest.raises(TuningError, match="no row"):
        a.empirical_pvalues(d, null[:0])


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=40),
    st.lists(st.integers(0, 20), min_size=1, max_size=10),
)
def test_empirical_p_counts(null: list[int], values: list[int]) -> None:
    found = a.empirical_pvalues(torch.tensor(values) / 20, torch.tensor(null) / 20)
    wanted = [(1 + sum(n >= v for n in null)) / (1 + len(null)) for v in values]
    assert found.tolist() == pytest.approx(wanted, abs=1e-15)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_observed_and_cover(null: list[int], level: float) -> None:
    (found,) = a.null_quantiles(torch.tensor(null).double(), [level]).values()
    assert found in null
    share = np.mean(np.array(null) <= found)
    assert share >= level - 1e-12
    smaller = [n for n in null if n < found]
    # the smallest such value: with all below it, less than the level
    assert len(smaller) / len(null) < level or not smaller or math.isclose(level, 0)


def test_quantiles_refuse() -> None:
    with pytest.raises(TuningError, match="level must be"):
        a.null_quantiles(torch.ones(3), [1.5])
    with pytest.raises(TuningError, match="no row"):
        a.null_quantiles(torch.ones(0), [0.5])


@given(st.integers(0, 2**31))
def test_random_changes_have_the_norms_asked_for(seed: int) -> None:
    deltas = torch.tensor([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1e-3, 0.0, 0.0]])
    made = a.norm_matched(deltas, seed)
    assert made.norm(dim=1).tolist() == pytest.approx([5.0, 0.0, 1e-3], rel=1e-6)
    assert torch.equal(made, a.norm_matched(deltas, seed))
    assert not torch.equal(made, a.norm_matched(deltas, seed + 1))


def test_random_directions_are_uniform() -> None:
    made = a.norm_matched(torch.ones(4000, 3), 0) / math.sqrt(3)
    # a coordinate of a point of the sphere in three dimensions is uniform on [−1, 1]
    for coordinate in made.T.numpy():
        assert stats.kstest(coordinate, stats.uniform(-1, 2).cdf).pvalue > 1e-3


@given(st.integers(1, 6), st.integers(1, 6))
def test_chance_overlap_is_the_hypergeometric_mean(first: int, second: int) -> None:
    assert a.chance_overlap(first, second, 10) == pytest.approx(
        stats.hypergeom(10, first, second).mean()
    )
