"""Where rows stand among others: ranks scaled to [0, 1], and histograms of distances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mt_lottery.errors import TuningError


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
