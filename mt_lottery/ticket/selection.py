"""From changed rows to a winning ticket: selectors, corrections, the choice by α or by count.

A selector is a registered pure function that scores rows, larger = more changed::

    @register_selector("absolute")
    def absolute(before: Tensor, after: Tensor, *, reduction: str = "abs") -> Tensor:
        ...  # [V]

It returns a Tensor [V], or a :class:`RowScores` (``KSResult`` will do) where it
has nominal p-values too; only then can tickets be chosen by α.  A score of -inf
means "never choose this row".  What it needs beside the two tables it declares
as keyword-only parameters (:func:`selector_context` lists them).  The others of
Appendix C are in :mod:`mt_lottery.ticket.selectors`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

import torch
from torch import Tensor

from mt_lottery.errors import TuningError, unknown
from mt_lottery.registry import SELECTORS, register_selector
from mt_lottery.ticket.ks import KSResult, ks_test

CORRECTIONS = ("none", "bonferroni", "bh")


@dataclass(frozen=True, eq=False)
class RowScores:
    """How much each row has changed.

    Attributes:
        statistic: [V] float64, larger = more changed; -inf = never to be chosen.
        pvalue: [V] float64 nominal p-values, or None where the selector has none.
    """

    statistic: Tensor
    pvalue: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Ticket:
    """The chosen rows, most changed first, and how they were chosen.

    Attributes:
        rows: [k] int64 token ids, by statistic descending, ties by id ascending.
        statistic: [k] float64.
        pvalue: [k] float64 nominal, or None.
        adjusted: [k] float64, ``pvalue`` after ``correction`` over the vocabulary, or None.
        alpha: the α given; for a choice by count the nominal p of the last row, or None.
        correction: ``"none"``, ``"bonferroni"`` or ``"bh"``.
        selector: registered name.
    """

    rows: Tensor
    statistic: Tensor
    pvalue: Tensor | None
    adjusted: Tensor | None
    alpha: float | None
    correction: str
    selector: str


class Selector(Protocol):
    """What is registered as a selector; further parameters are keyword-only."""

    def __call__(self, before: Tensor, after: Tensor) -> Tensor | RowScores:
        """How much each row has changed, [V], from the tables [V, d] before and after."""
        ...


@register_selector("ks")
def ks(before: Tensor, after: Tensor, *, progress: bool = False) -> KSResult:
    """Kolmogorov-Smirnov distance of a row's coordinates before and after (the paper, §3)."""
    return ks_test(before, after, progress=progress)


def correct(pvalues: Tensor, method: str) -> Tensor:
    """Adjust p-values for as many tests as there are rows (the whole vocabulary).

    Args:
        pvalues: [V].
        method: ``"none"`` (the paper), ``"bonferroni"`` (family-wise error), or
            ``"bh"`` (Benjamini-Hochberg, false discovery rate).

    Returns:
        [V] float64; rejecting where it is ≤ α is the corrected test at α.

    Raises:
        TuningError: unknown method.
    """
    if method not in CORRECTIONS:
        raise TuningError(unknown("correction", method, CORRECTIONS))
    pvalues = pvalues.double()
    if method == "none" or pvalues.numel() == 0:
        return pvalues
    if method == "bonferroni":
        return (pvalues * pvalues.numel()).clamp(max=1.0)
    from scipy.stats import false_discovery_control

    return torch.from_numpy(false_discovery_control(pvalues.cpu().numpy(), method="bh"))


def selector_context(selector: str) -> tuple[str, ...]:
    """Names of what a selector takes beside the two tables (``seed``, ``counts``, …)."""
    parameters = list(inspect.signature(SELECTORS.get(selector)).parameters.values())
    return tuple(p.name for p in parameters[2:] if p.kind is not p.VAR_KEYWORD)


def looks_at_values(selector: str) -> bool:
    """Whether a selector reads the two tables (``frequency`` and ``random`` do not)."""
    return bool(getattr(SELECTORS.get(selector), "looks_at_values", True))


def score_rows(selector: str, before: Tensor, after: Tensor, **context: Any) -> RowScores:
    """Run a registered selector.

    Args:
        selector: registered name.
        before: [V, d].
        after: [V, d].
        context: what the selector declares, see :func:`selector_context`.

    Raises:
        RegistryError: unknown selector.
        TuningError: context that it does not take or lacks, or scores of a wrong shape or NaN.
    """
    function: Callable[..., Any] = SELECTORS.get(selector)
    try:
        inspect.signature(function).bind(before, after, **context)
    except TypeError as error:
        takes = ", ".join(selector_context(selector)) or "nothing"
        raise TuningError(
            f"Selector '{selector}': {error}. Beside the tables it takes: {takes}."
        ) from None
    result = function(before, after, **context)
    if isinstance(result, Tensor):
        result = RowScores(result)
    given = (getattr(result, "statistic", None), getattr(result, "pvalue", None))
    if not isinstance(given[0], Tensor) or not isinstance(given[1], (Tensor, type(None))):
        raise TuningError(
            f"Selector '{selector}' must return a tensor with one number per row (a RowScores "
            f"where it has p-values too), not {type(result).__name__}."
        )
    statistic = result.statistic.detach().double().cpu()
    if statistic.shape != before.shape[:1] or bool(statistic.isnan().any()):
        raise TuningError(
            f"Selector '{selector}' must return one number per row [{before.shape[0]}], no NaN; "
            f"got {[*statistic.shape]} with {int(statistic.isnan().sum())} NaN."
        )
    if result.pvalue is None:
        return RowScores(statistic)
    pvalue = result.pvalue.detach().double().cpu()
    # SciPy's exact p exceeds 1 by rounding at a few distances
    if pvalue.shape != statistic.shape or not bool(((pvalue >= 0) & (pvalue <= 1 + 1e-6)).all()):
        raise TuningError(
            f"Selector '{selector}' must return one p-value in [0, 1] per row [{len(statistic)}]; "
            f"got {[*pvalue.shape]}."
        )
    return RowScores(statistic, pvalue)


def select(
    selector: str,
    before: Tensor,
    after: Tensor,
    *,
    alpha: float | None = None,
    count: int | None = None,
    correction: str = "none",
    **context: Any,
) -> Tensor:
    """Choose rows by a significance level or by count.

    Args:
        selector: registered name, ``"ks"``.
        before: [V, d].
        after: [V, d].
        alpha: in [0, 1]: every row whose (corrected) p ≤ alpha; at 1 every row.
        count: the ``count`` most changed rows.  Exactly one of the two is given.
        correction: see :func:`correct`; applies to ``alpha`` only.
        context: passed on to the selector.

    Returns:
        [k] int64 token ids, most changed first, ties by id ascending; empty where
        no row is rejected at ``alpha``.

    Raises:
        TuningError: both or neither of alpha and count, either out of range, more
            rows asked for than have changed.
    """
    _check_choice(alpha, count, correction)
    scores = score_rows(selector, before, after, **context)
    return _choose(scores, alpha, count, correction, selector)[0]


def find_ticket(
    scores: KSResult | RowScores,
    *,
    alpha: float | None = None,
    count: int | None = None,
    correction: str = "none",
    selector: str = "ks",
) -> Ticket:
    """Choose rows as :func:`select` does, from scores at hand, and keep the reasons.

    Raises:
        TuningError: as :func:`select`; also where no row is rejected at ``alpha``.
    """
    _check_choice(alpha, count, correction)
    rows, adjusted = _choose(scores, alpha, count, correction, selector)
    pvalue = scores.pvalue
    if rows.numel() == 0:
        assert pvalue is not None and adjusted is not None
        best = int(scores.statistic.argmax()) if scores.statistic.numel() else None
        raise TuningError(
            f"The ticket is empty: no row has p ≤ alpha = {alpha} (correction: {correction})."
            + ("" if best is None else _nearest_row(scores, adjusted, best))
            + " Raise alpha, or choose by count."
        )
    if alpha is None and pvalue is not None:
        alpha = implied_alpha(pvalue, rows)
    return Ticket(
        rows=rows,
        statistic=scores.statistic[rows],
        pvalue=None if pvalue is None else pvalue[rows],
        adjusted=None if adjusted is None else adjusted[rows],
        alpha=None if alpha is None else float(alpha),
        correction=correction,
        selector=selector,
    )


def implied_alpha(pvalues: Tensor, rows: Tensor) -> float:
    """The α of a ticket chosen by count: the nominal p of its last row (DESIGN §2.7).

    Args:
        pvalues: [V] nominal p-values, uncorrected.
        rows: [k] token ids, most changed first.

    Raises:
        TuningError: an empty ticket.
    """
    if rows.numel() == 0:
        raise TuningError("An empty ticket implies no alpha.")
    return float(pvalues[rows[-1]])


def _check_choice(alpha: float | None, count: int | None, correction: str) -> None:
    if (alpha is None) == (count is None):
        given = "neither" if alpha is None else f"alpha = {alpha} and count = {count}"
        raise TuningError(f"Give either alpha or count (the number of rows); got {given}.")
    if alpha is not None and (
        isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0.0 <= alpha <= 1.0
    ):
        raise TuningError(f"alpha must be a number in [0, 1], got {alpha!r}.")
    if count is not None and (
        isinstance(count, bool) or not isinstance(count, Integral) or count < 1
    ):
        raise TuningError(f"count must be a whole number ≥ 1, got {count!r}.")
    if correction not in CORRECTIONS:
        raise TuningError(unknown("correction", correction, CORRECTIONS))


def _choose(
    scores: KSResult | RowScores,
    alpha: float | None,
    count: int | None,
    correction: str,
    selector: str,
) -> tuple[Tensor, Tensor | None]:
    """([k] rows in order, [V] adjusted p-values or None)."""
    statistic, pvalue = scores.statistic, scores.pvalue
    adjusted = None if pvalue is None else correct(pvalue, correction)
    order = torch.argsort(statistic, descending=True, stable=True)
    if count is None:
        assert alpha is not None
        if adjusted is None:
            raise TuningError(f"Selector '{selector}' has no p-values: choose by count.")
        return order[adjusted[order] <= alpha], adjusted
    # A test's distance of 0 says that the row has not moved: no lottery ticket.
    floor = -math.inf if pvalue is None else 0.0
    eligible = int((statistic > floor).sum())
    if count > eligible:
        what = "can be chosen" if pvalue is None else "changed (have a distance above 0)"
        raise TuningError(
            f"count = {count}, but only {eligible} of {statistic.numel()} rows {what}."
        )
    return order[:count], adjusted


def _nearest_row(scores: KSResult | RowScores, adjusted: Tensor, row: int) -> str:
    return (
        f" The most changed row is {row}: statistic {float(scores.statistic[row]):.4g}, "
        f"p {float(adjusted[row]):.4g}."
    )
