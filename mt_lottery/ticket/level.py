"""The level of a test over the vocabulary, and the p-values that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING

from mt_lottery.errors import TuningError, unknown

if TYPE_CHECKING:
    from torch import Tensor

CORRECTIONS = ("none", "bonferroni", "bh")


@dataclass(frozen=True)
class Level:
    """α, and the correction that p goes through before it is compared with it.

    A row is rejected where its corrected p is at most α:

        >>> Level(0.05, "bh")
        Level(alpha=0.05, correction='bh')
        >>> Level(1.5)
        Traceback (most recent call last):
        mt_lottery.errors.TuningError: alpha must be a number in [0, 1], got 1.5.

    Attributes:
        alpha: in [0, 1].
        correction: over the vocabulary: ``none`` (the paper), ``bonferroni`` (family-wise
            error) or ``bh`` (Benjamini-Hochberg, false discovery rate).

    Raises:
        TuningError: α is no number in [0, 1], or an unknown correction.
    """

    alpha: float
    correction: str = "none"

    def __post_init__(self) -> None:
        given = self.alpha
        if isinstance(given, bool) or not isinstance(given, Real) or not 0.0 <= given <= 1.0:
            raise TuningError(f"alpha must be a number in [0, 1], got {given!r}.")
        object.__setattr__(self, "alpha", float(given))
        check_correction(self.correction)

    def rejects(self, scores: RowScores) -> Tensor:
        """Which rows are rejected, [V] bool.

        Args:
            scores: with p-values.
        """
        return scores.adjusted(self.correction) <= self.alpha


def check_correction(name: str) -> None:
    """Refuse what is no correction.

    Raises:
        TuningError: unknown; the nearest match is named.
    """
    if name not in CORRECTIONS:
        raise TuningError(unknown("correction", name, CORRECTIONS))


def correct(pvalues: Tensor, method: str) -> Tensor:
    """Adjust p-values for as many tests as there are rows (the whole vocabulary).

    Args:
        pvalues: [V].
        method: see :class:`Level`.

    Returns:
        [V] float64; rejecting where it is ≤ α is the corrected test at α.

    Raises:
        TuningError: unknown method.
    """
    check_correction(method)
    pvalues = pvalues.double()
    if method == "none" or pvalues.numel() == 0:
        return pvalues
    if method == "bonferroni":
        return (pvalues * pvalues.numel()).clamp(max=1.0)
    import torch
    from scipy.stats import false_discovery_control

    return torch.from_numpy(false_discovery_control(pvalues.cpu().numpy(), method="bh"))


@dataclass(frozen=True, eq=False)
class RowScores:
    """How much each row has changed.

    Attributes:
        statistic: [V] float64, larger = more changed; -inf = never to be chosen.
        pvalue: [V] float64 nominal p-values, or None where the selector has none.
    """

    statistic: Tensor
    pvalue: Tensor | None = None
    _adjusted: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def adjusted(self, correction: str) -> Tensor:
        """The p-values after a correction, [V] float64; computed once for each.

        Raises:
            TuningError: unknown correction, or a selector without p-values.
        """
        if self.pvalue is None:
            raise TuningError("Scores without p-values cannot be corrected: choose by count.")
        if correction not in self._adjusted:
            self._adjusted[correction] = correct(self.pvalue, correction)
        return self._adjusted[correction]

    def among(self, rows: Tensor, size: int) -> RowScores:
        """The scores of a whole vocabulary, of which only these rows can have moved.

        Every other row has D = 0 and p = 1; without p-values, where a score may be negative, it
        is never to be chosen.

        Args:
            rows: token ids of these scores, [k].
            size: V.
        """
        import torch

        unmoved = 0.0 if self.pvalue is not None else -float("inf")
        statistic = torch.full((size,), unmoved, dtype=torch.float64)
        statistic[rows] = self.statistic
        if self.pvalue is None:
            return RowScores(statistic)
        pvalue = torch.ones(size, dtype=torch.float64)
        pvalue[rows] = self.pvalue
        return RowScores(statistic, pvalue)

    def eligible(self) -> int:
        """Rows that may be chosen by number: those that changed, where there is a test."""
        # a test's distance of 0 says that the row has not moved: no lottery ticket
        floor = -float("inf") if self.pvalue is None else 0.0
        return int((self.statistic > floor).sum())
