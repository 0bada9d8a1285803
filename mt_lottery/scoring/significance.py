"""Bootstrap over sentences: intervals, and the paired comparison of two systems (Koehn 2004).

Sentences are drawn with replacement and the corpus score is computed again from the summed
sufficient statistics of those drawn.  Indices are drawn as sacrebleu draws them, so that for one
seed interval and p-value equal its own (``sacrebleu.significance``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from mt_lottery.errors import ScoreError
from mt_lottery.scoring.metric import Metric

Floats = NDArray[np.float64]


class Resampled(Protocol):
    """A metric that is a function of summed sentence statistics."""

    key: str

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
        """Sufficient statistics, [N, S]."""
        ...

    def corpus_score(self, totals: Floats) -> float:
        """The corpus score from their sum over sentences, [S]."""
        ...


def can_be_resampled(metric: Metric) -> TypeGuard[Resampled]:
    """Whether a metric has sentence statistics (all of ours have; a third party's may not)."""
    return hasattr(metric, "statistics") and hasattr(metric, "corpus_score")


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline on the same sentences.

    Attributes:
        difference: score of the system less that of the baseline.
        ci95: 95% percentile interval of the difference over resamples.
        pvalue: of no difference, as sacrebleu's paired bootstrap computes it, but 1 where the
            scores are equal.  It centres absolute differences, so a clear difference gets about
            half of the two-sided p (``benchmark.board.compare.difference_pvalue``): the interval
            may hold 0 where p < 0.05.

    """

    difference: float
    ci95: tuple[float, float]
    pvalue: float


def draw_counts(sentences: int, resamples: int, seed: int) -> Floats:
    """How often each sentence occurs in each resample, [resamples, sentences]."""
    drawn = np.random.default_rng(seed).choice(sentences, size=(resamples, sentences), replace=True)
    flat = (drawn + sentences * np.arange(resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=resamples * sentences)
    return counts.reshape(resamples, sentences).astype(np.float64)


def resampled_scores(
    statistics: Floats, corpus_score: Callable[[Floats], float], counts: Floats
) -> Floats:
    """Corpus score of each resample, [resamples].

    Args:
        statistics: [N, S].
        counts: [resamples, N], of :func:`draw_counts`.

    """
    return np.array([corpus_score(totals) for totals in counts @ statistics])


def percentile_interval(scores: Floats) -> tuple[float, float]:
    """The 95% interval: one score in forty cut off on either side, as sacrebleu does."""
    ordered = np.sort(scores)
    cut = len(ordered) // 40
    return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])


def paired_bootstrap(
    metric: Metric,
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 12345,
) -> Comparison:
    """Compare two systems on the same sentences, drawn alike for both.

    Args:
        metric: one of ours made by ``make_metric``.
        baseline: hypotheses of the first system, one a reference.
        system: hypotheses of the second.

    Raises:
        ScoreError: the three differ in length, or are empty; or the metric has no sentence
            statistics (a third party's).

    """
    if not can_be_resampled(metric):
        raise ScoreError(
            f"{type(metric).__name__} has no sentence statistics: it cannot be resampled."
        )
    corpus: Resampled = metric
    first = corpus.statistics(baseline, references)
    second = corpus.statistics(system, references)
    difference = corpus.corpus_score(second.sum(0)) - corpus.corpus_score(first.sum(0))
    counts = draw_counts(len(references), resamples, seed)
    differences = resampled_scores(second, corpus.corpus_score, counts)
    differences -= resampled_scores(first, corpus.corpus_score, counts)
    # Centring puts the resamples under the hypothesis of no difference; the ones added keep the
    # test exact with few resamples.
    centred = np.abs(differences) - np.abs(differences).mean()
    extreme = int((centred > abs(difference)).sum())
    # Identical outputs have no resample beyond 0: the formula would call them surely different.
    pvalue = (extreme + 1) / (resamples + 1) if difference else 1.0
    return Comparison(difference, percentile_interval(differences), pvalue)
