"""Selectors, corrections, and the choice by α or by count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mt_lottery.errors import RegistryError, TuningError
from mt_lottery.registry import SELECTORS
from mt_lottery.ticket.certify import tau_estimated
from mt_lottery.ticket.ks import ks_test
from mt_lottery.ticket.level import RowScores, correct
from mt_lottery.ticket.selection import (
    implied_alpha,
    score_rows,
    select,
    selector_context,
    ticket_of,
)

D = 50


@pytest.fixture
def tables() -> tuple[Tensor, Tensor]:
    """Distances 0, 0.2, 1, 0.2, 0.5, 0 of the rows 0..5."""
    before = torch.arange(float(D)).repeat(6, 1)
    return before, before + torch.tensor([[0.0], [10], [D], [10], [25], [0]])


@pytest.fixture
def plain_selectors() -> Iterator[None]:
    def size(before: Tensor, after: Tensor, *, power: float) -> Tensor:
        return (after - before).abs().sum(1) ** power

    def broken(before: Tensor, after: Tensor) -> Tensor:
        return torch.full((len(before),), float("nan"))

    def rounded(before: Tensor, after: Tensor) -> RowScores:
        p = torch.tensor([1 + 5e-7, 0.5], dtype=torch.float64)
        return RowScores(torch.tensor([1.0, 2.0]), p)

    mine = {"test_size": size, "test_broken": broken, "test_rounded": rounded}
    for name, selector in mine.items():
        SELECTORS.register(name)(selector)
    yield
    for name in mine:
        SELECTORS._forget(name)


def test_by_count(tables: tuple[Tensor, Tensor]) -> None:
    rows = select("ks", *tables, rows=4)
    assert rows.dtype == torch.int64
    assert rows.tolist() == [2, 4, 1, 3], "most changed first, ties by token id"
    assert select("ks", *tables, rows=3).tolist() == [2, 4, 1]


def test_by_alpha(tables: tuple[Tensor, Tensor]) -> None:
    p = ks_test(*tables).pvalue
    assert select("ks", *tables, alpha=float(p[4])).tolist() == [2, 4], "p ≤ α, not p < α"
    assert select("ks", *tables, alpha=0.0).tolist() == []
    assert select("ks", *tables, alpha=1.0).tolist() == [2, 4, 1, 3, 0, 5]
    assert select("ks", *tables, alpha=1).tolist() == [2, 4, 1, 3, 0, 5]


def test_correction_counts_the_whole_vocabulary(tables: tuple[Tensor, Tensor]) -> None:
    p = ks_test(*tables).pvalue
    just = float(p[4]) * 6
    assert select("ks", *tables, alpha=just, correction="bonferroni").tolist() == [2, 4]
    assert select("ks", *tables, alpha=just * 0.99, correction="bonferroni").tolist() == [2]
    assert select("ks", *tables, alpha=float(p[4]) * 3, correction="bh").tolist() == [2, 4]


def test_unchanged_rows_are_no_tickets(tables: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(TuningError, match="rows = 5, but only 4 of 6 rows changed"):
        select("ks", *tables, rows=5)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "either alpha or rows.*neither"),
        ({"alpha": 0.1, "rows": 2}, "either alpha or rows"),
        ({"alpha": -0.1}, r"alpha must be a number in \[0, 1\], got -0.1"),
        ({"alpha": 1.1}, "alpha must be"),
        ({"alpha": float("nan")}, "alpha must be"),
        ({"alpha": True}, "alpha must be"),
        ({"alpha": "0.1"}, "alpha must be"),
        ({"rows": 0}, "rows must be"),
        ({"rows": 2.0}, "rows must be"),
        ({"rows": True}, "rows must be"),
        ({"rows": 2, "correction": "bonferoni"}, "Did you mean 'bonferroni'"),
        ({"rows": 2, "seed": 3}, "'ks'.*'seed'.*it takes: progress"),
    ],
)
def test_mistakes(tables: tuple[Tensor, Tensor], choice: dict[str, Any], message: str) -> None:
    with pytest.raises(TuningError, match=message):
        select("ks", *tables, **choice)


def test_unknown_selector(tables: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(RegistryError, match="selector 'kss'"):
        select("kss", *tables, rows=1)


def test_selector_of_ones_own(tables: tuple[Tensor, Tensor], plain_selectors: None) -> None:
    assert selector_context("test_size") == ("power",)
    assert select("test_size", *tables, rows=5, power=0.5).tolist() == [2, 4, 1, 3, 0]
    with pytest.raises(TuningError, match=r"missing a required.*'power'"):
        select("test_size", *tables, rows=5)
    with pytest.raises(TuningError, match="no p-values: choose by number"):
        select("test_size", *tables, alpha=0.5, power=1.0)
    with pytest.raises(TuningError, match="no NaN"):
        score_rows("test_broken", *tables)
    endless = torch.full_like(tables[1], torch.inf)
    with pytest.raises(TuningError, match=r"'absolute' must .*no infinity; .* with 6 of these"):
        score_rows("absolute", tables[0], endless)
    scores = score_rows("test_size", *tables, power=1.0)
    ticket = ticket_of(scores, rows=2, selector="test_size")
    assert (ticket.pvalue, ticket.adjusted, ticket.alpha) == (None, None, None)


@pytest.mark.parametrize("correction", ["none", "bonferroni", "bh"])
def test_a_p_rounded_to_above_1_is_1(correction: str, plain_selectors: None) -> None:
    """At α = 1 every row is chosen, by every correction."""

    table = torch.ones(2, 4)
    chosen = select("test_rounded", table, table, alpha=1.0, correction=correction)
    assert chosen.tolist() == [1, 0]
    assert score_rows("test_rounded", table, table).pvalue.tolist() == [1.0, 0.5]  # type: ignore[union-attr]


def test_minus_infinity_is_never_chosen() -> None:
    scores = RowScores(torch.tensor([-1.0, -torch.inf, 2.0]).double())
    assert ticket_of(scores, rows=2).rows.tolist() == [2, 0]
    with pytest.raises(TuningError, match="only 2 of 3 rows can be chosen"):
        ticket_of(scores, rows=3)


def test_ticket_by_count_implies_alpha(tables: tuple[Tensor, Tensor]) -> None:
    result = ks_test(*tables)
    ticket = ticket_of(result, rows=3, correction="bonferroni")
    assert ticket.rows.tolist() == [2, 4, 1]
    assert ticket.statistic.tolist() == [1.0, 0.5, 0.2]
    assert ticket.alpha == float(result.pvalue[1]) == implied_alpha(result.pvalue, ticket.rows)
    assert ticket.pvalue is not None and ticket.adjusted is not None
    assert torch.equal(ticket.adjusted, (ticket.pvalue * 6).clamp(max=1))
    assert (ticket.correction, ticket.selector) == ("bonferroni", "ks")
    # τ is of the nominal α, as a certificate of these rows has it
    assert ticket.tau == tau_estimated(result.statistic, result.pvalue, ticket.alpha) < 0.2


def test_ticket_by_alpha(tables: tuple[Tensor, Tensor]) -> None:
    assert ticket_of(ks_test(*tables), alpha=0.01).alpha == 0.01
    with pytest.raises(TuningError, match=r"empty: no row has p ≤ alpha = 0.0.*row is 2"):
        ticket_of(ks_test(*tables), alpha=0.0)


def test_empty_ticket_implies_nothing() -> None:
    with pytest.raises(TuningError, match="empty ticket"):
        implied_alpha(torch.ones(3), torch.empty(0, dtype=torch.int64))


pvalue_lists = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(p=pvalue_lists, alpha=st.floats(0, 1))
def test_benjamini_hochberg_by_its_definition(p: list[float], alpha: float) -> None:
    """Step up: reject the k smallest, k the largest rank with p_(k) ≤ α·k/V."""
    ranked = sorted(p)
    # Past rounding: α·k/V and p·V/k differ in the last bit.
    margins = [value * len(p) / rank - alpha for rank, value in enumerate(ranked, 1)]
    if any(0 < abs(m) < 1e-12 for m in margins):
        return
    k = max((rank for rank, m in enumerate(margins, 1) if m <= 0), default=0)
    cut = ranked[k - 1] if k else -1.0
    rejected = correct(torch.tensor(p, dtype=torch.float64), "bh") <= alpha
    assert rejected.tolist() == [value <= cut for value in p]


@given(p=pvalue_lists)
def test_corrections_only_raise_p(p: list[float]) -> None:
    plain = torch.tensor(p, dtype=torch.float64)
    bh, bonferroni = correct(plain, "bh"), correct(plain, "bonferroni")
    assert torch.equal(correct(plain, "none"), plain)
    assert (bh >= plain * (1 - 1e-12)).all()
    assert (bonferroni >= bh * (1 - 1e-12)).all()
    assert bonferroni.max() <= 1


@pytest.mark.slow
def test_the_package_is_light() -> None:
    code = (
        "import sys, mt_lottery.ticket as l; assert 'torch' not in sys.modules;"
        "l.ks_test; assert not {'numba', 'scipy.stats'} & set(sys.modules);"
        "assert 'select' in dir(l) and l.select.__name__ == 'select'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
