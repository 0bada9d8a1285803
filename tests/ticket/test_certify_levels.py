"""Certificates over a range of α: what holds by construction, and an example by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.ticket.certify import tau_analytic, top_two
from mt_lottery.ticket.certify_levels import (
    TAU_FORMS,
    LevelCertificate,
    certify_levels,
    margin_quantiles,
    suggest_alpha,
    tau_of,
)
from mt_lottery.ticket.ks import ks_test

ALPHAS = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted)


def probe(seed: int) -> dict[str, Any]:
    """Random rows before and after a tuning that moved two in three of them, by some of their
    coordinates, as a real one does; equal distances are frequent."""
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(40, 24, generator=generator)
    size = torch.rand(40, 1, generator=generator) * (torch.arange(40) % 3).unsqueeze(1)
    after = before + size * torch.randn(40, 24, generator=generator)
    result = ks_test(before, after)
    return {"statistic": result.statistic, "pvalue": result.pvalue, "dimension": 24}


def model(seed: int, positions: int = 60) -> tuple[Tensor, Tensor, Tensor]:
    """Margins, predictions and references of a random model, with some exact ties."""
    generator = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(positions, 5, generator=generator)).round()
    margins, predictions = top_two(logits)
    return margins, predictions, torch.randint(5, (positions,), generator=generator)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), alphas=ALPHAS, tau=st.sampled_from(TAU_FORMS), own=st.booleans())
def test_what_holds_by_construction(seed: int, alphas: list[float], tau: str, own: bool) -> None:
    """§2.7: never above the accuracy; never falls as α grows; for either margin and form of τ."""
    margins, predictions, references = model(seed)
    if not own:  # the margins of another model than the one that predicts
        margins = model(seed + 1)[0]
    levels = certify_levels(margins, predictions, references, **probe(seed), alphas=alphas, tau=tau)
    assert [level.alpha for level in levels] == alphas
    accuracy = float((predictions == references).double().mean())
    for before, after in zip([None, *levels], levels, strict=False):
        said = after.certification
        assert said.certified_accuracy <= said.accuracy == accuracy
        assert said.certified_accuracy <= said.verified_share
        assert after.rows_kept + after.rows_not_rejected == 40
        if before is not None:
            assert before.rows_kept <= after.rows_kept
            assert before.tau_estimated >= after.tau_estimated
            assert before.tau_analytic >= after.tau_analytic
            assert before.certification.verified_share <= said.verified_share
            # position by position: what was certified stays so
            assert not bool((before.certification.certified & ~said.certified).any())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_at_alpha_one_only_exact_ties_are_missing(seed: int) -> None:
    margins, predictions, references = model(seed)
    (level,) = certify_levels(margins, predictions, references, **probe(seed), alphas=[1.0])
    assert (level.rows_kept, level.rows_not_rejected, level.tau_estimated) == (40, 0, 0.0)
    assert torch.equal(level.certification.certified, (predictions == references) & (margins > 0))


def test_alpha_zero() -> None:
    margins, predictions, references = model(3)
    found = {
        tau: certify_levels(margins, predictions, references, **probe(3), alphas=[0.0], tau=tau)[0]
        for tau in TAU_FORMS
    }
    assert found["analytic"].tau_analytic == found["estimated"].tau_analytic == math.inf
    assert found["analytic"].certification.verified_share == 0
    assert found["estimated"].tau_estimated == float(probe(3)["statistic"].max())
    assert found["estimated"].rows_kept == 0


def hand() -> dict[str, Any]:
    """Five rows, d = 10; margins whose halves are 0.45, 0.3, 0.2, 0.1 and 0."""
    return {
        "statistic": torch.tensor([0.6, 0.3, 0.3, 0.1, 0.0], dtype=torch.float64),
        "pvalue": torch.tensor([0.05, 0.8, 0.8, 0.99, 1.0], dtype=torch.float64),
        "dimension": 10,
    }


def by_hand(alphas: list[float], **more: Any) -> list[LevelCertificate]:
    margins = torch.tensor([0.9, 0.625, 0.4, 0.2, 0.0])
    predictions, references = torch.tensor([1, 2, 3, 4, 5]), torch.tensor([1, 0, 3, 4, 5])
    return certify_levels(margins, predictions, references, **hand(), alphas=alphas, **more)


def test_by_hand() -> None:
    levels = by_hand([0.0, 0.05, 0.8, 0.99, 1.0])
    assert [level.rows_kept for level in levels] == [0, 1, 3, 4, 5]
    assert [level.tau_estimated for level in levels] == [0.6, 0.3, 0.1, 0.0, 0.0]
    # halves of the margins 0.45, 0.3125, 0.2, 0.1 (in float32 a hair above) and 0
    shares = [level.certification.verified_share for level in levels]
    assert shares == [0.0, 0.4, 0.8, 0.8, 0.8]
    certified = [level.certification.certified_accuracy for level in levels]
    assert certified == [0.0, 0.2, 0.6, 0.6, 0.6]
    assert {level.certification.accuracy for level in levels} == {0.8}


def test_by_hand_analytic() -> None:
    """τ(0.8) = sqrt(-ln 0.4 / 10) = 0.3027, τ(1) = sqrt(ln 2 / 10) = 0.2633."""
    levels = by_hand([0.0, 0.8, 1.0], tau="analytic")
    assert [level.tau_analytic for level in levels] == [
        math.inf,
        pytest.approx(0.30271, abs=1e-5),
        pytest.approx(0.26328, abs=1e-5),
    ]
    assert [level.certification.verified_share for level in levels] == [0.0, 0.4, 0.4]
    assert [level.tau_estimated for level in levels] == [0.6, 0.1, 0.0]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.001, 1),
    tau=st.sampled_from(TAU_FORMS),
)
def test_the_suggested_alpha_is_the_smallest(seed: int, share: float, tau: str) -> None:
    """Against trying them all: every α where the estimated τ can move, or the float below."""
    margins, rows = model(seed)[0], probe(seed)

    def verified(alpha: float) -> float:
        threshold = tau_of(tau, rows["statistic"], rows["pvalue"], alpha, 24)
        return float((margins.double() / 2 > threshold).double().mean())

    found = suggest_alpha(margins, **rows, share=share, tau=tau)
    enough = share - 1e-9
    if found.alpha is None:
        assert verified(1.0) < enough
        return
    assert found.verified_share == verified(found.alpha) >= enough
    assert found.rows_kept == int((rows["pvalue"] <= found.alpha).sum())
    if tau == "estimated":
        tried = [0.0, *rows["pvalue"].tolist()]
        assert found.alpha == min(alpha for alpha in tried if verified(alpha) >= enough)
    else:
        assert found.alpha == 0 or verified(math.nextafter(found.alpha, 0)) < enough
        assert found.tau == tau_analytic(found.alpha, 24)


def test_suggestion_by_hand() -> None:
    margins = torch.tensor([0.9, 0.625, 0.4, 0.2, 0.0])
    found = suggest_alpha(margins, **hand(), share=0.4)
    assert (found.alpha, found.rows_kept, found.tau, found.verified_share) == (0.05, 1, 0.3, 0.4)
    found = suggest_alpha(margins, **hand(), share=0.5)
    assert (found.alpha, found.rows_kept, found.verified_share) == (0.8, 3, 0.8)
    # the last position is a tie: no τ lies below 0
    assert suggest_alpha(margins, **hand(), share=1.0).alpha is None
    # 0.3125² · 10 = 0.97656; 2·exp of minus that is 0.7532
    found = suggest_alpha(margins, **hand(), share=0.4, tau="analytic")
    assert found.alpha == pytest.approx(2 * math.exp(-0.9765625), rel=1e-9)
    assert suggest_alpha(margins, **hand(), share=0.6, tau="analytic").alpha is None


def test_quantiles() -> None:
    found = margin_quantiles(torch.tensor([0.0, 0.2, 0.4, 1.0]), at=(0.0, 0.5, 1.0))
    assert found == [(0.0, 0.0), (0.5, pytest.approx(0.15)), (1.0, 0.5)]


def test_mistakes() -> None:
    margins = torch.tensor([0.5])
    with pytest.raises(TuningError, match=r"alpha must be a number in \[0, 1\]"):
        by_hand([0.5, 1.5])
    with pytest.raises(TuningError, match="Did you mean 'estimated'"):
        by_hand([0.5], tau="estimate")
    with pytest.raises(TuningError, match=r"\(0, 1\]"):
        suggest_alpha(margins, **hand(), share=0.0)
    with pytest.raises(TuningError, match="no position"):
        suggest_alpha(margins[:0], **hand(), share=0.5)
    with pytest.raises(TuningError, match="no position"):
        margin_quantiles(margins[:0])
