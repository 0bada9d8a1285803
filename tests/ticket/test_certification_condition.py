"""Theorem 2's condition: what holds by construction."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.ticket.certify import certify, tau_analytic, tau_estimated, top_two
from mt_lottery.ticket.ks import KSResult, ks_test


def probe(seed: int, rows: int = 30, d: int = 40) -> KSResult:
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(rows, d, generator=generator)
    shift = torch.randn(rows, 1, generator=generator)
    return ks_test(before, before + shift * (torch.arange(rows) % 3).unsqueeze(1))


def positions(seed: int, n: int = 50) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    margins, predictions = top_two(3 * torch.randn(n, 4, generator=generator))
    return margins, predictions, torch.randint(4, (n,), generator=generator)


def test_analytic_tau_of_the_paper() -> None:
    assert tau_analytic(0.05, 4096) == pytest.approx(1.3581015 * math.sqrt(2 / 4096), rel=1e-6)
    assert tau_analytic(1.0, 2) == pytest.approx(math.sqrt(math.log(2) / 2))
    assert tau_analytic(0.0, 100) == math.inf


def test_estimated_tau() -> None:
    statistic = torch.tensor([0.1, 0.5, 0.3, 0.0])
    pvalue = torch.tensor([0.6, 0.01, 0.05, 1.0])
    assert tau_estimated(statistic, pvalue, 0.0) == 0.5
    assert tau_estimated(statistic, pvalue, 0.01) == pytest.approx(0.3)
    assert tau_estimated(statistic, pvalue, 0.05) == pytest.approx(0.1)
    assert tau_estimated(statistic, pvalue, 0.6) == 0.0
    assert tau_estimated(statistic, pvalue, 1.0) == 0.0


def test_by_hand() -> None:
    margins = torch.tensor([0.9, 0.9, 0.2, 0.1])
    result = certify(margins, torch.tensor([1, 2, 3, 4]), torch.tensor([1, 0, 3, 4]), 0.09)
    assert result.certified.tolist() == [True, False, True, False]
    assert result.verified.tolist() == [True, True, True, False]
    assert (result.certified_accuracy, result.verified_share) == (0.5, 0.75)
    assert (result.accuracy, result.tau) == (0.75, 0.09)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    alphas=st.lists(st.floats(0, 1), min_size=2, max_size=6).map(sorted),
    analytic=st.booleans(),
)
def test_never_falls_as_alpha_grows(seed: int, alphas: list[float], analytic: bool) -> None:
    result = probe(seed)
    where = positions(seed)
    last = -1.0
    for alpha in alphas:
        tau = (
            tau_analytic(alpha, result.dimension)
            if analytic
            else tau_estimated(result.statistic, result.pvalue, alpha)
        )
        certificate = certify(*where, tau)
        assert last <= certificate.certified_accuracy <= certificate.accuracy
        assert certificate.certified_accuracy <= certificate.verified_share
        last = certificate.certified_accuracy


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_at_alpha_one_only_exact_ties_are_lost(seed: int) -> None:
    result = probe(seed)
    margins, predictions, references = positions(seed)
    margins[::7] = 0.0
    certificate = certify(
        margins, predictions, references, tau_estimated(result.statistic, result.pvalue, 1.0)
    )
    right = predictions == references
    assert torch.equal(certificate.certified, right & (margins > 0))


def test_top_two_in_half_precision() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.bfloat16)
    margins, predictions = top_two(logits)
    p = torch.tensor([2.0, 1.0, 0.0]).softmax(0)
    assert margins.dtype == torch.float32
    assert margins.item() == pytest.approx(float(p[0] - p[1]), rel=1e-6)
    assert predictions.tolist() == [0]


def test_mistakes() -> None:
    one = torch.tensor([1])
    with pytest.raises(TuningError, match="alpha"):
        tau_analytic(1.5, 10)
    with pytest.raises(TuningError, match="alpha"):
        tau_estimated(torch.ones(1), torch.ones(1), float("nan"))
    with pytest.raises(TuningError, match="dimension"):
        tau_analytic(0.5, 0)
    with pytest.raises(TuningError, match="do not match"):
        tau_estimated(torch.ones(2), torch.ones(1), 0.5)
    with pytest.raises(TuningError, match=r"shape \[N\]"):
        certify(torch.ones(2), one, one, 0.1)
    with pytest.raises(TuningError, match="no position"):
        certify(torch.empty(0), one[:0], one[:0], 0.1)
    with pytest.raises(TuningError, match="tau"):
        certify(torch.ones(1), one, one, float("nan"))
    with pytest.raises(TuningError, match="NaN"):
        certify(torch.tensor([float("nan")]), one, one, 0.1)
