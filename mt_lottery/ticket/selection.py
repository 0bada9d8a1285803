"""From changed rows to a winning ticket: selectors, the choice by α or by number.

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
import warnings
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Protocol

import torch
from torch import Tensor

from mt_lottery.errors import TuningError, plural
from mt_lottery.registry import SELECTORS, register_selector
from mt_lottery.ticket.certify import tau_estimated
from mt_lottery.ticket.ks import KSResult, ks_test
from mt_lottery.ticket.level import CORRECTIONS as CORRECTIONS
from mt_lottery.ticket.level import Level, RowScores, check_correction
from mt_lottery.ticket.level import correct as correct
from mt_lottery.ticket.ticket import Ticket


class Selector(Protocol):
    """What is registered as a selector; further parameters are keyword-only."""

    def __call__(self, before: Tensor, after: Tensor) -> Tensor | RowScores:
        """How much each row has changed, [V], from the tables [V, d] before and after."""
        ...


@register_selector("ks")
def ks(before: Tensor, after: Tensor, *, progress: bool = False) -> KSResult:
    """Kolmogorov-Smirnov distance of a row's coordinates before and after (the paper, §3)."""
    return ks_test(before, after, progress=progress)


def selector_context(selector: str) -> tuple[str, ...]:
    """Names of what a selector takes beside the two tables (``seed``, ``counts``, …)."""
    parameters = list(inspect.signature(SELECTORS.get(selector)).parameters.values())
    return tuple(p.name for p in parameters[2:] if p.kind is not p.VAR_KEYWORD)


def looks_at_values(selector: str) -> bool:
    """Whether a selector reads the two tables (``frequency`` and ``random`` do not)."""
    return bool(getattr(SELECTORS.get(selector), "looks_at_values", True))


def of_rows(context: Mapping[str, Any], rows: Tensor) -> dict[str, Any]:
    """What a selector takes beside tables that hold no other rows than these.

    Args:
        context: what it takes for the whole vocabulary.
        rows: token ids, [k].
    """
    return {k: v[rows] if k in ("counts", "gradients") else v for k, v in context.items()}


def score_rows(selector: str, before: Tensor, after: Tensor, **context: Any) -> RowScores:
    """Run a registered selector.

    Args:
        selector: registered name.
        before: [V, d].
        after: [V, d].
        context: what the selector declares, see :func:`selector_context`.

    Raises:
        RegistryError: unknown selector.
        TuningError: context that it does not take or lacks, or scores of a wrong shape, NaN or ∞.
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
    bad = statistic.isnan() | statistic.isposinf()  # tickets.csv holds no infinity
    if statistic.shape != before.shape[:1] or bool(bad.any()):
        raise TuningError(
            f"Selector '{selector}' must return one number per row [{before.shape[0]}], no NaN, no "
            f"infinity; got {[*statistic.shape]} with {int(bad.sum())} of these."
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
    return RowScores(statistic, pvalue.clamp(max=1.0))  # at α = 1 every row; SciPy's bh wants ≤ 1


def select(
    selector: str,
    before: Tensor,
    after: Tensor,
    *,
    rows: int | None = None,
    alpha: float | None = None,
    correction: str = "none",
    count: int | None = None,
    **context: Any,
) -> Tensor:
    """Choose rows by a significance level or by number.

        >>> before = torch.arange(8.0).repeat(3, 1)
        >>> after = before + torch.tensor([[0.0], [4.0], [1.0]])
        >>> select("ks", before, after, rows=2)
        tensor([1, 2])
        >>> select("ks", before, after, alpha=0.5)
        tensor([1])

    Args:
        selector: registered name, ``"ks"``.
        before: [V, d].
        after: [V, d].
        rows: so many of the most changed rows.
        alpha: in [0, 1]: every row whose (corrected) p ≤ alpha; at 1 every row.  Exactly one
            of ``rows`` and ``alpha`` is given.
        correction: see :class:`~mt_lottery.ticket.level.Level`; applies to ``alpha`` only.
        count: the name of ``rows`` in version 0.1.
        context: passed on to the selector.

    Returns:
        [k] int64 token ids, most changed first, ties by id ascending; empty where
        no row is rejected at ``alpha``.

    Raises:
        TuningError: both or neither of rows and alpha, either out of range, more
            rows asked for than have changed.
    """
    if count is not None:
        if rows is not None:
            raise TuningError("count is the earlier name of rows: give rows alone.")
        rows = count
    level = check_choice(rows, alpha, correction)
    return _choose(score_rows(selector, before, after, **context), rows, level, selector)


def ticket_of(
    scores: KSResult | RowScores,
    *,
    rows: int | None = None,
    alpha: float | None = None,
    correction: str = "none",
    selector: str = "ks",
) -> Ticket:
    """Choose rows as :func:`select` does, from scores at hand, and keep the reasons.

    Args:
        scores: of every row of the vocabulary, [V].
        rows, alpha, correction: as of :func:`select`.
        selector: what made the scores.

    Returns:
        the ticket, with the α and the τ that belong to it: of a number of rows α is the
        nominal p of the last one.

    Raises:
        TuningError: as :func:`select`; also where no row is rejected at ``alpha``.
    """
    level = check_choice(rows, alpha, correction)
    if not isinstance(scores, RowScores):
        scores = RowScores(scores.statistic, scores.pvalue)
    chosen = _choose(scores, rows, level, selector)
    if len(chosen) == 0:
        raise TuningError(
            f"The ticket is empty: no row has p ≤ alpha = {alpha} (correction: {correction})."
            + _nearest_row(scores, correction)
            + " Raise alpha, or choose by number."
        )
    if level is None and scores.pvalue is not None:  # counted off: nothing is corrected
        level = Level(min(implied_alpha(scores.pvalue, chosen), 1.0))
    tau = None
    if level is not None:
        tau = tau_estimated(scores.statistic, scores.adjusted(level.correction), level.alpha)
    return Ticket(
        chosen,
        selector,
        alpha=None if level is None else level.alpha,
        correction=correction,
        tau=tau,
        scores=scores,
    )


def find_ticket(scores: KSResult | RowScores, *, count: int | None = None, **choice: Any) -> Ticket:
    """The name of :func:`ticket_of` in version 0.1, when ``rows`` was ``count``."""
    warnings.warn(
        "mt_lottery.ticket.selection.find_ticket is ticket_of now, and its count is rows.",
        DeprecationWarning,
        stacklevel=2,
    )
    return ticket_of(scores, rows=count, **choice)


def implied_alpha(pvalues: Tensor, rows: Tensor) -> float:
    """The α of a ticket chosen by number: the nominal p of its last row.

    Args:
        pvalues: [V] nominal p-values, uncorrected.
        rows: [k] token ids, most changed first.

    Raises:
        TuningError: an empty ticket.
    """
    if rows.numel() == 0:
        raise TuningError("An empty ticket implies no alpha.")
    return float(pvalues[rows[-1]])


def check_choice(rows: int | None, alpha: float | None, correction: str) -> Level | None:
    """The level, where rows are chosen by one; None where they are chosen by number.

    Args:
        rows, alpha, correction: as of :func:`select`.

    Raises:
        TuningError: both or neither of rows and alpha, or either out of range.
    """
    if (alpha is None) == (rows is None):
        given = "neither" if alpha is None else f"alpha = {alpha} and rows = {rows}"
        raise TuningError(f"Give either alpha or rows (their number); got {given}.")
    if alpha is not None:
        return Level(alpha, correction)
    if isinstance(rows, bool) or not isinstance(rows, Integral) or rows < 1:
        raise TuningError(f"rows must be a whole number ≥ 1, got {rows!r}.")
    check_correction(correction)
    return None


def _choose(scores: RowScores, rows: int | None, level: Level | None, selector: str) -> Tensor:
    """[k] rows in order."""
    order = torch.argsort(scores.statistic, descending=True, stable=True)
    if level is not None:
        if scores.pvalue is None:
            raise TuningError(f"Selector '{selector}' has no p-values: choose by number (rows).")
        return order[level.rejects(scores)[order]]
    eligible = scores.eligible()
    if rows is not None and rows > eligible:
        kind = "can be chosen" if scores.pvalue is None else "changed (have a distance above 0)"
        total = scores.statistic.numel()
        raise TuningError(f"rows = {rows}, but only {eligible} of {plural(total, 'row')} {kind}.")
    return order[:rows]


def _nearest_row(scores: RowScores, correction: str) -> str:
    if scores.statistic.numel() == 0:
        return ""
    row = int(scores.statistic.argmax())
    return (
        f" The most changed row is {row}: statistic {float(scores.statistic[row]):.4g}, "
        f"p {float(scores.adjusted(correction)[row]):.4g}."
    )
