"""The other measures of change that the paper compares with (Appendix C, Table 3).

The paper names them and gives, for three of them, no way from a row's d
coordinates to one number.  Its Table 3 shows the rank of each token, scaled to
[0, 1]; those of *absolute*, *relative* and *ratio* are all near 0 or near 1, as
signed sums would give.  So both readings are here: ``reduction="abs"`` (how far)
and ``"signed"`` (how far, and to which side).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.registry import register_selector

F = TypeVar("F", bound=Callable[..., Any])

REDUCTIONS = ("abs", "signed")
_CHUNK = 2**22  # values widened to float64 at a time


def without_values(selector: F) -> F:
    """Mark a selector that reads nothing of the two tables but their number of rows."""
    selector.looks_at_values = False  # type: ignore[attr-defined]
    return selector


def _rowwise(before: Tensor, after: Tensor, score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """``score`` of [n, d] float64 blocks, put together to [V]."""
    rows = max(1, _CHUNK // max(before.shape[1], 1))
    parts = [
        score(before[i : i + rows].double(), after[i : i + rows].double())
        for i in range(0, len(before), rows)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def _reduced(changes: Tensor, reduction: str) -> Tensor:
    if reduction not in REDUCTIONS:
        raise TuningError(f"reduction must be one of {', '.join(REDUCTIONS)}, not '{reduction}'.")
    return (changes.abs() if reduction == "abs" else changes).mean(dim=1)


@register_selector("cos")
def cos(before: Tensor, after: Tensor) -> Tensor:
    """1 − cos(before, after): the angle by which a row turned, in [0, 2]; 0 if it is null.

    Args:
        before: [V, d].
        after: [V, d].

    Returns:
        [V] float64.
    """

    def score(x: Tensor, y: Tensor) -> Tensor:
        norms = x.norm(dim=1) * y.norm(dim=1)
        cosine = (x * y).sum(dim=1) / norms
        return torch.where(norms > 0, 1 - cosine, torch.zeros_like(norms)).clamp_(0, 2)

    return _rowwise(before, after, score)


@register_selector("absolute")
def absolute(before: Tensor, after: Tensor, *, reduction: str = "abs") -> Tensor:
    """Mean over the coordinates of after − before, or of its absolute value.

    Args:
        before: [V, d].
        after: [V, d].
        reduction: ``"abs"`` or ``"signed"``.

    Returns:
        [V] float64.

    Raises:
        TuningError: another reduction.
    """
    return _rowwise(before, after, lambda x, y: _reduced(y - x, reduction))


@register_selector("relative")
def relative(before: Tensor, after: Tensor, *, reduction: str = "abs") -> Tensor:
    """Mean over the coordinates of (after − before) / before, or of its absolute value.

    A coordinate that was 0 and moved counts as a change of ±1 (it is divided by itself);
    one that was 0 and stayed counts 0.

    Args, Returns, Raises: as :func:`absolute`.
    """
    return _rowwise(before, after, lambda x, y: _reduced(_quotient(y - x, x), reduction))


@register_selector("ratio")
def ratio(before: Tensor, after: Tensor, *, reduction: str = "abs") -> Tensor:
    """Mean over the coordinates of after / before, or of its absolute value; 1 = unchanged.

    0 / 0 counts 1, and a coordinate that was 0 and moved ±1 beyond that.  Signed, it ranks
    as ``relative`` does: it is that plus 1.

    Args, Returns, Raises: as :func:`absolute`.
    """
    return _rowwise(before, after, lambda x, y: _reduced(1 + _quotient(y - x, x), reduction))


def _quotient(change: Tensor, start: Tensor) -> Tensor:
    zero = start == 0
    return torch.where(zero, change.sign(), change / torch.where(zero, 1.0, start))


@register_selector("kl")
def kl(before: Tensor, after: Tensor) -> Tensor:
    """KL(softmax(before) ‖ softmax(after)) over a row's coordinates, in nats; ≥ 0.

    The paper does not say how a row becomes a distribution; the softmax is our reading.

    Args:
        before: [V, d].
        after: [V, d].

    Returns:
        [V] float64.
    """

    def score(x: Tensor, y: Tensor) -> Tensor:
        log_p, log_q = x.log_softmax(dim=1), y.log_softmax(dim=1)
        return (log_p.exp() * (log_p - log_q)).sum(dim=1).clamp_min_(0)

    return _rowwise(before, after, score)


@register_selector("frequency")
@without_values
def frequency(before: Tensor, after: Tensor, *, counts: Tensor) -> Tensor:
    """How often the row's token occurs in the training text.

    Args:
        before: [V, d], not looked at.
        after: [V, d], not looked at.
        counts: [V].

    Returns:
        [V] float64; -inf (never chosen) where the token does not occur.
    """
    scores = counts.double()
    return torch.where(scores > 0, scores, -torch.inf)


@register_selector("gradient")
@without_values
def gradient(before: Tensor, after: Tensor, *, gradients: Tensor) -> Tensor:
    """How strongly the training pairs pull at the row of the original model: no training.

    Args:
        before: [V, d], not looked at.
        after: [V, d], not looked at.
        gradients: sum over pairs of the L2 norm of the row's gradient
            (:mod:`mt_lottery.training.row_gradients`), [V].

    Returns:
        [V] float64; -inf (never chosen) where no gradient reaches the row.
    """
    scores = gradients.double()
    return torch.where(scores > 0, scores, -torch.inf)


@register_selector("random")
@without_values
def random(before: Tensor, after: Tensor, *, seed: int = 0) -> Tensor:
    """Uniform numbers: as good as any row.

    Args:
        before: [V, d], not looked at.
        after: [V, d], not looked at.
        seed: of the numbers.

    Returns:
        [V] float64.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(before), generator=generator, dtype=torch.float64)
