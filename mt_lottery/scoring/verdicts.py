"""Judging systems: by the best one, or whether one is as good as another, up to a margin.

"Not significantly different" is no evidence of that: it takes few sentences to find nothing.  Two
one-sided tests at 5% (Schuirmann 1987) reject a loss and a gain of the margin, where the 90%
interval of the difference lies within ± the margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mt_lottery.scoring.significance import (
    LEVEL,
    Corrected,
    ResampledScore,
    differences,
    least_pvalue,
    percentile_interval,
)

EQUIVALENT, WORSE, BETTER, UNDECIDED = "equivalent", "worse", "better", "undecided"


@dataclass(frozen=True)
class Equivalence:
    """A system against another one.

    Attributes:
        margin: in points of the metric.
        ci90: 90% percentile interval of the difference over resamples.
        verdict: ``equivalent``: the interval lies within the margin; else ``worse`` or
            ``better``: significantly, at 5%; else ``undecided``.
    """

    margin: float
    ci90: tuple[float, float]
    verdict: str

    @property
    def shown(self) -> str:
        """The verdict as a table says it."""
        within = f" within {self.margin:g}" if self.verdict == EQUIVALENT else ""
        return self.verdict + within


def equivalence(
    system: ResampledScore, other: ResampledScore, margin: float, pvalue: float | None = None
) -> Equivalence:
    """Judge a system by another one.

    In simulations a true loss of the margin is called equivalent in 1% to 6% of the cases, with
    one seed or three (docs/evidence.md).

    Args:
        system: its score.
        other: that of another one, on the same test sets.
        margin: in points, above 0; named before the scores are known.
        pvalue: of no difference, corrected where there are several; the bootstrap's if None.
    """
    low, high = percentile_interval(system.resamples - other.resamples, one_in=20)
    known = system.minus(other).pvalue if pvalue is None else pvalue
    enough = least_pvalue(system.sentences) / 2 <= LEVEL  # of four, no one-sided test can show it
    if enough and -margin < low and high < margin:
        verdict = EQUIVALENT
    elif known > LEVEL:
        verdict = UNDECIDED
    else:
        verdict = WORSE if system.score < other.score else BETTER
    return Equivalence(margin, (low, high), verdict)


@dataclass(frozen=True)
class Verdict:
    """A system against the best one.

    Attributes:
        best: whether it is the best one itself.
        difference: its score less that of the best, ≤ 0.
        pvalue: two-sided, Holm-corrected over all comparisons; 1 for the best.
        least: as in :class:`Corrected`.
        mark: the best, or not significantly worse at 5%; None where there is one seed only.
    """

    best: bool
    difference: float
    pvalue: float
    least: bool
    mark: bool | None


def compare_with_best(scores: Mapping[str, ResampledScore]) -> dict[str, Verdict]:
    """Judge every system by its score (an average over languages).

    Args:
        scores: system → its score, all of the same test sets.

    Returns:
        system → verdict; empty if there is no system.
    """
    if not scores:
        return {}
    best = max(scores, key=lambda name: scores[name].score)
    several = any(own.several for own in scores.values())
    found = differences(scores, best)
    found[best] = Corrected(0.0, (0.0, 0.0), 1.0, 1.0, False)
    return {
        name: Verdict(
            *(name == best, found[name].difference, found[name].corrected, found[name].least),
            mark=found[name].corrected > LEVEL if several else None,
        )
        for name in scores
    }
