"""Tickets against each other, and against chance: overlap, stability, unchanged rows, a real null.

Pure functions.  A ticket is a set of token ids; how much a row changed is its KS
distance D, a Tensor [V] with 0 for rows that did not change.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mt_lottery.errors import TuningError, plural
from mt_lottery.ticket.ks import ks_test
from mt_lottery.ticket.level import Level

#: How many tickets share a token, in words (the paper's Table 8).
GROUPS = ("all", "most", "some", "one")


def shared_by(tickets: Sequence[Collection[int]]) -> dict[int, int]:
    """Token id → number of tickets that hold it, most shared first, ties by id.

    Args:
        tickets: N collections of token ids.
    """
    counts: Counter[int] = Counter()
    for ticket in tickets:
        counts.update(set(ticket))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def group_of(count: int, tickets: int) -> str:
    """``all`` of the tickets, ``most`` (over half of them), ``some`` (two at least) or ``one``."""
    if count == tickets:
        return "all"
    if 2 * count > tickets:
        return "most"
    return "some" if count > 1 else "one"


def jaccard(first: Collection[int], second: Collection[int]) -> float:
    """``|A ∩ B| / |A ∪ B|``; 1 for two empty tickets."""
    one, other = set(first), set(second)
    union = len(one | other)
    return len(one & other) / union if union else 1.0


def overlap_coefficient(first: Collection[int], second: Collection[int]) -> float:
    """``|A ∩ B| / min(|A|, |B|)``: 1 where one ticket lies within the other.

    Raises:
        TuningError: an empty ticket.
    """
    one, other = set(first), set(second)
    if not one or not other:
        raise TuningError("The overlap coefficient of an empty ticket is not defined.")
    return len(one & other) / min(len(one), len(other))


def most_changed(statistic: Tensor, rows: int) -> Tensor:
    """The ``rows`` rows of largest D, ties by id, [rows] int64.

    Raises:
        TuningError: fewer rows than that have changed.
    """
    changed = int((statistic > 0).sum())
    if not 1 <= rows <= changed:
        raise TuningError(
            f"{plural(rows, 'row')} {'was' if rows == 1 else 'were'} asked for, but "
            f"{plural(changed, 'row')} {'has' if changed == 1 else 'have'} changed."
        )
    return torch.argsort(statistic, descending=True, stable=True)[:rows]


def rank_correlation(
    first: Tensor, second: Tensor, *, both: bool = False
) -> tuple[float | None, int]:
    """Spearman's ρ of two measurements of D, over the rows that changed in either.

    Rows that changed in neither are left out: there are hundreds of thousands of
    them, all tied at 0, and they would agree whatever the rest does.  A row that
    changed in one only counts, with D = 0 in the other: two texts of different
    words rank each other's rows last, and ρ can be negative.

    Args:
        first: [V].
        second: [V].
        both: over the rows that changed in both, instead.

    Returns:
        ρ (average ranks for ties), None where it is not defined (fewer than two rows,
        or all of one D); and the number of rows.
    """
    _same_vocabulary(first, second)
    meant = (first > 0) & (second > 0) if both else (first > 0) | (second > 0)
    one, other = first[meant], second[meant]
    rows = int(meant.sum())
    if rows < 2 or bool((one == one[0]).all()) or bool((other == other[0]).all()):
        return None, rows
    from scipy.stats import spearmanr

    return float(spearmanr(one.numpy(), other.numpy()).statistic), rows


def overlap_at(first: Tensor, second: Tensor, sizes: Sequence[int]) -> dict[int, float | None]:
    """Share of the k most changed rows that two measurements have in common, for several k.

    Args:
        first: D, [V].
        second: D, [V].
        sizes: the k.

    Returns:
        k → ``|top k ∩ top k| / k``; None where fewer than k rows changed in either.
    """
    _same_vocabulary(first, second)
    changed = min(int((first > 0).sum()), int((second > 0).sum()))
    shares: dict[int, float | None] = {}
    for size in sizes:
        shares[size] = None
        if 1 <= size <= changed:
            one, other = most_changed(first, size), most_changed(second, size)
            shares[size] = int(torch.isin(one, other).sum()) / size
    return shares


def _same_vocabulary(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim != 1:
        raise TuningError(
            f"D of two vocabularies cannot be compared: {[*first.shape]} and {[*second.shape]} "
            "rows."
        )


@dataclass(frozen=True)
class Unchanged:
    """Partial tuning against partial transfer at one α (the paper's Table 6).

    Attributes:
        alpha: the level, the same in both tests.
        ticket: rows of the ticket at α: nominal p (original against probe) ≤ α.
        compared: those of them that both models hold.
        unchanged: compared rows whose nominal p (tuned against transferred) is > α.
        median_distance, largest_distance: D between tuned and transferred over the
            compared rows; None where there are none.
    """

    alpha: float
    ticket: int
    compared: int
    unchanged: int
    median_distance: float | None
    largest_distance: float | None

    @property
    def share(self) -> float | None:
        """``unchanged / compared``; None where no row was compared."""
        return self.unchanged / self.compared if self.compared else None

    @property
    def whole(self) -> bool:
        """Whether every row of the ticket at α was compared."""
        return self.compared == self.ticket > 0


def unchanged_rows(
    pvalue: Tensor, token_ids: Tensor, tuned: Tensor, transferred: Tensor, alphas: Sequence[float]
) -> list[Unchanged]:
    """Share of rows that partial tuning and partial transfer leave with one distribution (Table 6).

    At level α, twice the same α:

    1. the *ticket* is every row v with p(original v, probe v) ≤ α;
    2. of its rows that were tuned, each is tested: its d coordinates after partial tuning
       against its d coordinates after partial transfer (the probe's).  The row is
       *unchanged* if this test does not reject, p > α.

    Both p are nominal (two-sided two-sample KS test, as everywhere), both values float32
    as trained.  The tuned values are those of one run, whatever its own α: rows
    outside it cannot be compared (``compared`` < ``ticket``), and where it tuned more rows
    than the ticket at α has, those were trained along.  At α = 1 every row is rejected
    (p ≤ 1), so the share is 0.

    Args:
        pvalue: nominal p of original against probe for the whole vocabulary, [V].
        token_ids: rows whose tuned and transferred values are known, [k].
        tuned: their values after partial tuning, [k, d].
        transferred: after partial transfer, [k, d].
        alphas: levels in [0, 1].

    Raises:
        TuningError: shapes that do not fit, α out of range.
    """
    levels = [Level(alpha) for alpha in alphas]
    if len(token_ids) != len(tuned):
        raise TuningError(f"{plural(len(token_ids), 'token id')} for {plural(len(tuned), 'row')}.")
    test = ks_test(tuned, transferred)
    own = pvalue[token_ids]
    found = []
    for alpha in (level.alpha for level in levels):
        inside = own <= alpha
        distance = test.statistic[inside]
        found.append(
            Unchanged(
                alpha,
                int((pvalue <= alpha).sum()),
                int(inside.sum()),
                int((test.pvalue[inside] > alpha).sum()),
                float(np.median(distance.numpy())) if len(distance) else None,
                float(distance.max()) if len(distance) else None,
            )
        )
    return found


def empirical_pvalues(statistic: Tensor, null: Tensor) -> Tensor:
    """How often a distance as large arises under a measured null (docs/across-languages.md).

    Args:
        statistic: D of the rows in question, [n].
        null: D of rows under the null, pooled, [m].

    Returns:
        [n] float64, ``(1 + #{null ≥ D}) / (1 + m)``: in (0, 1], never 0.

    Raises:
        TuningError: an empty null.
    """
    if null.numel() == 0:
        raise TuningError("The null has no row to compare with.")
    ordered = np.sort(null.double().numpy())
    below = np.searchsorted(ordered, statistic.double().numpy(), side="left")
    return torch.from_numpy((1 + len(ordered) - below) / (1 + len(ordered)))


def null_quantiles(null: Tensor, levels: Sequence[float]) -> dict[float, float]:
    """The smallest observed D that at least this share of the null does not exceed.

    Args:
        null: D under the null, [m].
        levels: shares in [0, 1]; 1 gives the largest.

    Raises:
        TuningError: an empty null, or a level out of range.
    """
    if null.numel() == 0:
        raise TuningError("The null has no row to compare with.")
    for level in levels:
        if not 0.0 <= level <= 1.0:
            raise TuningError(f"A quantile's level must be in [0, 1], not {level}.")
    # observed values, no interpolation: D is a multiple of 1/d
    found = np.quantile(null.double().numpy(), list(levels), method="inverted_cdf")
    return {float(level): float(value) for level, value in zip(levels, found, strict=True)}


def norm_matched(deltas: Tensor, seed: int) -> Tensor:
    """Random changes as large, row by row, as the given ones: a control for their direction.

    Args:
        deltas: [k, d].
        seed: of the directions, which are uniform on the sphere.

    Returns:
        [k, d] float32, each row of the norm of its row in ``deltas``.
    """
    generator = torch.Generator().manual_seed(seed)
    wanted = deltas.detach().to("cpu", torch.float64)
    drawn = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    size = wanted.norm(dim=1, keepdim=True) / drawn.norm(dim=1, keepdim=True)
    made: Tensor = drawn * size
    return made.to(torch.float32)


def chance_overlap(first: int, second: int, rows: int) -> float:
    """Tokens that two random tickets have in common on average: ``|A| |B| / rows``.

    Args:
        first, second: numbers of rows of the two tickets.
        rows: how many rows each was drawn from.
    """
    return first * second / rows if rows else math.nan
