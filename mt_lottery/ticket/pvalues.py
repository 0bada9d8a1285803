"""Nominal p-values of the two-sample KS test with equal sample sizes, as SciPy gives them.

With n = m = d the distance D is a multiple of 1/d, so a table over the d + 1
possible distances holds every p-value there is.  It is filled for the
distances that occur, once per d and process.

p is a monotone relabelling of D for a given d (docs/which-tokens.md): before and
after are the same coordinates, so it ranks rows and controls no error rate.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mt_lottery.errors import TuningError, unknown

MAX_EXACT = 10_000  # SciPy's MAX_AUTO_N: `auto` is exact up to here

_ASK_ABOVE = 1.0 - 1e-12


def resolve_method(method: str, dimension: int) -> Literal["exact", "asymp"]:
    """The method that ``scipy.stats.ks_2samp`` takes for two samples of ``dimension``.

    Raises:
        TuningError: unknown method, or one that is not defined for this dimension.
    """
    if method not in ("auto", "exact", "asymp"):
        raise TuningError(unknown("KS method", method, ("auto", "exact", "asymp")))
    if method == "auto":
        return "exact" if dimension <= MAX_EXACT else "asymp"
    if method == "asymp" and dimension < 2:
        raise TuningError(
            f"method='asymp' needs rows of at least 2 coordinates, got {dimension}. Use 'exact'."
        )
    return "exact" if method == "exact" else "asymp"


def nominal_pvalues(
    counts: NDArray[np.int64], dimension: int, method: str = "auto"
) -> NDArray[np.float64]:
    """p-values of the distances ``counts / dimension``.

    Args:
        counts: [V] integers in 0..dimension, ``dimension`` times the KS distance.
        dimension: d, the size of either sample.
        method: as in ``scipy.stats.ks_2samp``.

    Returns:
        [V] float64, equal to SciPy's to 1e-9 relative.
    """
    table = _table(dimension, resolve_method(method, dimension))
    occurring = np.flatnonzero(np.bincount(counts, minlength=1))
    missing = occurring[np.isnan(table[occurring])]
    if missing.size:
        fill = _exact if resolve_method(method, dimension) == "exact" else _asymptotic
        table[missing] = fill(missing, dimension)
    return table[counts]


@lru_cache(maxsize=8)
def _table(dimension: int, method: str) -> NDArray[np.float64]:
    # NaN marks a distance not asked for yet: all of them take SciPy's formula
    # O(d²) steps, those of a real table a fraction of that.
    table = np.full(dimension + 1, np.nan)
    table[0] = 1.0
    return table


def _asymptotic(distances: NDArray[np.int64], d: int) -> NDArray[np.float64]:
    from scipy.stats import kstwo

    p = kstwo.sf(distances / d, np.round(d * d / (d + d)))
    return np.asarray(np.clip(p, 0.0, 1.0), dtype=np.float64)


def _exact(distances: NDArray[np.int64], d: int) -> NDArray[np.float64]:
    """P(D ≥ h/d) under the null, by the reflection principle.

    P = 2 · (C(2d, d−h) − C(2d, d−2h) + …) / C(2d, d), in SciPy's factored form
    2·A0·(1 − A1·(1 − A2·(…))) and in its order of operations, for all h at once.

    Args:
        distances: distinct h > 0, ascending.
        d: sample size.
    """
    # One entry for each factor A_k of each distance, ordered by h descending:
    # entries that still have factors to multiply are then always a prefix.
    largest_first = distances[::-1]
    terms = d // largest_first + 1
    h = np.repeat(largest_first, terms)
    starts = np.cumsum(terms) - terms
    k = np.arange(h.size) - np.repeat(starts, terms)
    numerator = (d - k * h).astype(np.float64)
    denominator = (d + k * h + 1).astype(np.float64)
    product = np.ones(h.size)
    active = np.searchsorted(-h, -np.arange(int(h[0])), side="left")
    for j, m in enumerate(active):
        product[:m] = (numerator[:m] - j) * product[:m] / (denominator[:m] + j)

    p = np.zeros(distances.size)
    alive = np.searchsorted(terms, np.arange(int(terms[-1])), side="right")
    for term in range(int(terms[-1]) - 1, -1, -1):
        first = int(alive[term])
        p[first:] = product[starts[first:] + term] * (1.0 - p[first:])
    p = (2.0 * p)[::-1]

    # Where the sum exceeds 1 by rounding SciPy switches to the asymptotic form,
    # which differs visibly at small odd d; the last bit decides, so ask SciPy itself.
    for near_one in np.flatnonzero(~(p <= _ASK_ABOVE)):
        p[near_one] = _ask_scipy(int(distances[near_one]), d)
    return p


def _ask_scipy(distance: int, d: int) -> float:
    from scipy.stats import ks_2samp

    ramp = np.arange(d)  # shifted by h, it has the distance h/d
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its notice of the switch
        return float(ks_2samp(ramp, ramp + distance, method="exact").pvalue)
