"""Certification: the paper's Theorem 2 and Algorithm 1 (arXiv 2402.02801) as measured quantities.

"Certified" means that a prediction meets the paper's condition.  It is no
guarantee: the KS distance of marginals does not bound a joint probability, and
a softmax is no probability over parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.ticket.level import Level


@dataclass(frozen=True, eq=False)
class Certification:
    """What the condition says of N teacher-forced positions at one τ.

    Attributes:
        certified: [N] bool: the reference model predicts the reference and margin/2 > τ.
        verified: [N] bool: margin/2 > τ, whatever the reference.
        certified_accuracy: share of ``certified``, in [0, 1].
        verified_share: share of ``verified``.
        accuracy: share of positions where the reference model predicts the reference.
        tau: τ(α).
    """

    certified: Tensor
    verified: Tensor
    certified_accuracy: float
    verified_share: float
    accuracy: float
    tau: float


def tau_analytic(alpha: float, dimension: int) -> float:
    """τ(α) = c(α)·sqrt(2/d), c(α) = sqrt(-ln(α/2)/2): the asymptotic critical distance.

    Args:
        alpha: in [0, 1]; at 0 τ is infinite, at 1 it is not 0.
        dimension: d, the size of either sample.

    Raises:
        TuningError: alpha or dimension out of range.
    """
    alpha = Level(alpha).alpha
    if dimension < 1:
        raise TuningError(f"The dimension must be ≥ 1, got {dimension}.")
    if alpha == 0:
        return math.inf
    # ln 2 − ln α, for α / 2 is 0 for the smallest float above 0
    return math.sqrt((math.log(2) - math.log(alpha)) / 2) * math.sqrt(2 / dimension)


def tau_estimated(statistic: Tensor, pvalue: Tensor, alpha: float) -> float:
    """τ(α) as the paper estimated it: the largest distance among the rows that are not rejected.

    Args:
        statistic: [V] KS distances of the probe.
        pvalue: [V] their p-values (corrected ones, where the ticket was).
        alpha: in [0, 1]; rows with p ≤ α are rejected.

    Returns:
        max {D_i : p_i > α}, 0 if every row is rejected.

    Raises:
        TuningError: alpha out of range, or shapes that differ.
    """
    alpha = Level(alpha).alpha
    if statistic.shape != pvalue.shape:
        raise TuningError(
            f"{[*statistic.shape]} statistics and {[*pvalue.shape]} p-values do not match."
        )
    kept = statistic[pvalue > alpha]
    return float(kept.max()) if kept.numel() else 0.0


def top_two(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Margin and prediction at each position, softmax in float32.

    Args:
        logits: [N, V] next-token logits, any floating dtype.

    Returns:
        margins [N] float32, p_A − p_B of the two most probable tokens (V ≥ 2), and
        predictions [N] int64, the most probable token.
    """
    probability, token = logits.float().softmax(dim=-1).topk(2, dim=-1)
    return probability[..., 0] - probability[..., 1], token[..., 0]


def certify(margins: Tensor, predictions: Tensor, references: Tensor, tau: float) -> Certification:
    """Theorem 2's condition at each position: prediction = reference and margin/2 > τ.

    For one set of positions certified accuracy is at most the accuracy, and it
    does not fall as τ falls, hence as α grows.

    Args:
        margins: [N] p_A − p_B, of the embed-tuned model (the theorem) or of the
            original one (§4.1, Algorithm 1).
        predictions: [N] tokens that the reference (embed-tuned) model predicts.
        references: [N] reference tokens.
        tau: τ(α) ≥ 0.

    Raises:
        TuningError: no positions, shapes that differ, a NaN, a margin above 1, ids that are no
            whole numbers, or a negative τ.
    """
    if not (margins.shape == predictions.shape == references.shape) or margins.ndim != 1:
        raise TuningError(
            f"margins {[*margins.shape]}, predictions {[*predictions.shape]} and references "
            f"{[*references.shape]} must all have the shape [N]."
        )
    if margins.numel() == 0:
        raise TuningError("There is no position to certify.")
    if bool(margins.isnan().any()) or not tau >= 0:
        raise TuningError(f"Margins must not be NaN and tau must be ≥ 0 (got tau = {tau}).")
    if float(margins.max()) > 1 + 1e-6:
        raise TuningError(
            f"A margin is {float(margins.max()):g}: it is the difference of two probabilities (not "
            "of logits), at most 1."
        )
    if predictions.is_floating_point() or references.is_floating_point():
        raise TuningError("predictions and references must be token ids: whole numbers.")
    verified = margins.double() / 2 > tau
    right = predictions == references
    certified = verified & right
    return Certification(
        certified=certified,
        verified=verified,
        certified_accuracy=_share(certified),
        verified_share=_share(verified),
        accuracy=_share(right),
        tau=float(tau),
    )


def _share(mask: Tensor) -> float:
    return float(mask.to(torch.float64).mean())
