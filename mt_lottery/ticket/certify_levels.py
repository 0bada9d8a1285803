"""Certificates over a range of α (Tables 5 and 7, Figures 4 and 7), and the choice of α (§4.2).

One probe and one set of teacher-forced positions serve every α: only τ moves.
A row is *rejected* when p ≤ α; the rejected rows are the ticket, the rows kept
for tuning.  As α grows, more rows are rejected, τ falls, and more positions
meet the condition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mt_lottery.errors import TuningError, unknown
from mt_lottery.ticket.certify import Certification, certify, tau_analytic, tau_estimated

TAU_FORMS = ("estimated", "analytic")
QUANTILES = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class LevelCertificate:
    """The certificate at one α.

    Attributes:
        alpha: in [0, 1].
        rows_kept: rejected rows (p ≤ α): the ticket.
        rows_not_rejected: the others (p > α).
        tau_estimated: the largest distance among the others; 0 if there are none.
        tau_analytic: c(α)·sqrt(2/d); infinite at α = 0.
        certification: what τ(α), in the form asked for, says of each position.
    """

    alpha: float
    rows_kept: int
    rows_not_rejected: int
    tau_estimated: float
    tau_analytic: float
    certification: Certification


@dataclass(frozen=True)
class Suggestion:
    """The smallest α that verifies a wanted share of the positions.

    Attributes:
        share: what was wanted, in (0, 1].
        alpha: None where no α in [0, 1] reaches it.
        tau: τ(α).
        rows_kept: rejected rows at that α.
        verified_share: what it reaches.
    """

    share: float
    alpha: float | None
    tau: float | None = None
    rows_kept: int | None = None
    verified_share: float | None = None


def tau_of(form: str, statistic: Tensor, pvalue: Tensor, alpha: float, dimension: int) -> float:
    """τ(α) in either form.

    Args:
        form: ``"estimated"`` (as the paper did) or ``"analytic"``.
        statistic: [V] KS distances of the probe, the whole vocabulary.
        pvalue: [V] their (corrected) p-values.
        alpha: in [0, 1].
        dimension: d, the size of a row.

    Raises:
        TuningError: another form, α out of range, shapes that differ.
    """
    if form not in TAU_FORMS:
        raise TuningError(unknown("form of tau", form, TAU_FORMS))
    if form == "analytic":
        return tau_analytic(alpha, dimension)
    return tau_estimated(statistic, pvalue, alpha)


def certify_levels(
    margins: Tensor,
    predictions: Tensor,
    references: Tensor,
    *,
    statistic: Tensor,
    pvalue: Tensor,
    dimension: int,
    alphas: Sequence[float],
    tau: str = "estimated",
) -> list[LevelCertificate]:
    """Algorithm 1 at every α.

    Args:
        margins: [N] p_A − p_B of the embed-tuned (the theorem) or the original model (§4.1).
        predictions: [N] tokens that the embed-tuned model predicts.
        references: [N] reference tokens.
        statistic: [V] KS distance of every row of the vocabulary.
        pvalue: [V] (corrected) p-values.
        dimension: d.
        alphas: each in [0, 1], in any order.
        tau: which form decides; both are reported.

    Returns:
        one level an α, in the order given.

    Raises:
        TuningError: as :func:`~mt_lottery.ticket.certify.certify` and :func:`tau_of`.
    """
    levels = []
    for alpha in alphas:
        threshold = tau_of(tau, statistic, pvalue, alpha, dimension)
        kept = int((pvalue <= alpha).sum())
        levels.append(
            LevelCertificate(
                alpha=float(alpha),
                rows_kept=kept,
                rows_not_rejected=pvalue.numel() - kept,
                tau_estimated=tau_estimated(statistic, pvalue, alpha),
                tau_analytic=tau_analytic(alpha, dimension),
                certification=certify(margins, predictions, references, threshold),
            )
        )
    return levels


def margin_quantiles(margins: Tensor, at: Sequence[float] = QUANTILES) -> list[tuple[float, float]]:
    """Quantiles of (p_A − p_B)/2, what τ is compared with (§4.2).

    Args:
        margins: [N] p_A − p_B.
        at: in [0, 1].

    Returns:
        pairs of (share of positions below, half the margin in [0, 0.5]).

    Raises:
        TuningError: no positions.
    """
    if margins.numel() == 0:
        raise TuningError("There is no position to take quantiles of.")
    half = margins.double().cpu().numpy() / 2
    found = np.quantile(half, list(at))
    return [(float(q), float(value)) for q, value in zip(at, found, strict=True)]


def suggest_alpha(
    margins: Tensor,
    *,
    statistic: Tensor,
    pvalue: Tensor,
    dimension: int,
    share: float,
    tau: str = "estimated",
) -> Suggestion:
    """The smallest α at which at least ``share`` of the positions have margin/2 > τ(α) (§4.2).

    Exact, not the best of a grid: the estimated τ moves only where α passes some row's p.

    Args:
        margins: [N] p_A − p_B.
        statistic: [V] KS distance of every row of the vocabulary.
        pvalue: [V] (corrected) p-values.
        dimension: d.
        share: in (0, 1].
        tau: ``"estimated"`` or ``"analytic"``.

    Raises:
        TuningError: share out of range, no positions, another form of τ.
    """
    if not 0 < share <= 1:
        raise TuningError(f"The wanted share must be in (0, 1], got {share}.")
    if margins.numel() == 0:
        raise TuningError("There is no position to verify.")
    half = margins.double().sort(descending=True).values / 2
    # the last position that has to be verified; the product may be a hair above a whole number
    needed = max(1, math.ceil(round(share * half.numel(), 9)))
    bound = float(half[needed - 1])  # τ must lie below it
    if not tau_of(tau, statistic, pvalue, 1.0, dimension) < bound:
        return Suggestion(share, None)
    alpha = (
        _first_alpha(bound, dimension)
        if tau == "analytic"
        # every row as far away as the bound has to be rejected
        else max([0.0, *pvalue[statistic >= bound].tolist()])
    )
    threshold = tau_of(tau, statistic, pvalue, alpha, dimension)
    return Suggestion(
        share=share,
        alpha=alpha,
        tau=threshold,
        rows_kept=int((pvalue <= alpha).sum()),
        verified_share=float((half > threshold).to(torch.float64).mean()),
    )


def _first_alpha(bound: float, dimension: int) -> float:
    """The smallest float α with analytic τ(α) < bound, by bisection (τ falls as α grows)."""
    low, high = 0.0, 1.0
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        if tau_analytic(middle, dimension) < bound:
            high = middle
        else:
            low = middle
