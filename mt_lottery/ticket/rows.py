"""Many rows together: ranks, a histogram, what the tests of one parameter say (Figure 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mt_lottery.errors import TuningError
from mt_lottery.ticket.level import Level


def normalised_ranks(scores: Tensor) -> Tensor:
    """Rank of each row by its score, scaled to [0, 1] as in the paper's Table 3.

    Args:
        scores: [V], larger = more changed; no NaN.

    Returns:
        [V] float64: 1 for the largest score, 0 for the smallest; equal scores share the mean
        of their ranks.  A single row has rank 1.

    Raises:
        TuningError: a NaN.
    """
    from scipy.stats import rankdata

    if bool(scores.isnan().any()):
        raise TuningError("A score is NaN: rows cannot be ranked by it.")
    if scores.numel() < 2:
        return torch.ones(scores.numel(), dtype=torch.float64)
    ranks = torch.from_numpy(rankdata(scores.double().cpu().numpy(), method="average"))
    return (ranks - 1) / (scores.numel() - 1)


@dataclass(frozen=True)
class Histogram:
    """Numbers of rows by distance.

    Attributes:
        edges: bin i holds the distances D with edges[i] < D ≤ edges[i + 1]; n + 1 of them.
        counts: rows in each of the n bins.
        unmoved: rows with D = 0, which are in no bin.
    """

    edges: list[float]
    counts: list[int]
    unmoved: int


def histogram(statistic: Tensor, step: float, bins: int = 20) -> Histogram:
    """How the distances above 0 are distributed.

    D is a multiple of 1/d. Bins are whole multiples of it wide, so that each holds equally
    many possible distances; others would show teeth that are not in the data.

    Args:
        statistic: [V] distances.
        step: 1/d.
        bins: most bins.

    Raises:
        TuningError: ``step`` is not above 0.
    """
    if not step > 0:
        raise TuningError(f"The step between two distances must be above 0, got {step}.")
    steps = (statistic.double() / step).round().long()
    moved = steps[steps > 0]
    largest = int(moved.max()) if moved.numel() else 0
    width = max(1, math.ceil(largest / bins))
    count = math.ceil(largest / width)
    found = torch.bincount((moved - 1) // width, minlength=count)
    edges = [i * width * step for i in range(count + 1)]
    return Histogram(edges, found.tolist() if count else [], int((steps <= 0).sum()))


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
    alpha = Level(alpha).alpha
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
