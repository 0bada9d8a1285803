"""The KS test on any parameter of a model, row by row (the paper's Figure 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mt_lottery.errors import TuningError


@dataclass(frozen=True)
class ParameterChange:
    """How far the rows of one parameter have moved.

    Attributes:
        rows: samples that were tested: rows of a matrix, or 1 for a vector.
        dimension: d, coordinates of each; α means the same only for the same d.
        changed: rows with D > 0.
        rejected: rows with nominal p ≤ α.
        tied: rejecting rows whose D is no more than their :func:`largest_tie`.
        largest: the largest KS distance.
        median: the median over all rows.
    """

    rows: int
    dimension: int
    changed: int
    rejected: int
    tied: int
    largest: float
    median: float

    @property
    def share(self) -> float:
        """Share of rejecting rows, in [0, 1]."""
        return self.rejected / self.rows


def as_rows(tensor: Tensor) -> Tensor:
    """A parameter as samples [rows, d]: a matrix's rows; a vector or a number as one row.

    Of more dimensions (the experts of a mixture, a convolution) the last one holds the
    coordinates.
    """
    if tensor.ndim < 2:
        return tensor.reshape(1, -1)
    return tensor.reshape(-1, tensor.shape[-1])


def largest_tie(rows: Tensor) -> Tensor:
    """Share of a row's coordinates that hold one and the same value, the most common one.

    Weights that were quantised once hold few different values. The smallest move that takes
    such coordinates apart, all to one side, makes a KS distance of this share: a D that is no
    larger may say that ties were broken, not that the weights went anywhere.

    Args:
        rows: [R, d].

    Returns:
        [R] float64 in [1/d, 1].
    """
    values = rows.sort(dim=1).values
    place = torch.arange(values.shape[1]).expand(values.shape)
    first = torch.zeros_like(place)
    first[:, 1:] = torch.where(values[:, 1:] != values[:, :-1], place[:, 1:], 0)
    run = place - first.cummax(dim=1).values + 1
    return run.amax(dim=1).double() / values.shape[1]


def summarise(
    statistic: Tensor, pvalue: Tensor, alpha: float, dimension: int, tied: int = 0
) -> ParameterChange:
    """What the tests of a parameter's rows say together.

    Args:
        statistic: [rows] KS distances.
        pvalue: [rows] nominal p-values.
        alpha: in [0, 1]; rows with p ≤ alpha reject.
        dimension: d.
        tied: rejecting rows whose D is no more than their largest tie.

    Raises:
        TuningError: alpha out of range, or no row.
    """
    if not 0.0 <= alpha <= 1.0:
        raise TuningError(f"alpha must be in [0, 1], got {alpha}.")
    if statistic.numel() == 0 or statistic.shape != pvalue.shape:
        raise TuningError(
            f"{[*statistic.shape]} distances and {[*pvalue.shape]} p-values: as many of both, and "
            "at least one, are needed."
        )
    return ParameterChange(
        rows=statistic.numel(),
        dimension=dimension,
        changed=int((statistic > 0).sum()),
        rejected=int((pvalue <= alpha).sum()),
        tied=tied,
        largest=float(statistic.max()),
        median=float(np.median(statistic.numpy())),  # torch's takes the lower of the middle two
    )
