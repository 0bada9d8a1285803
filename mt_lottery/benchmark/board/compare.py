"""Which methods are as good as the best: paired bootstrap over sentences and seeds, Holm-corrected.

One resample draws sentences for each language (the same ones for every method)
and seeds for each method, scores each language's corpus again, and averages over
languages.  So a difference must show over languages, sentences and seeds alike.
Test sets of one size share their draws: those of Flores or NTREX are the same
sentences in every language, so a hard sentence is hard in all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mt_lottery.scoring.significance import draw_counts, percentile_interval

Floats = NDArray[np.float64]

#: Sentence statistics of a method: language → one array [N, S] for each seed.
Statistics = Mapping[str, Sequence[Floats]]

RESAMPLES = 1000
SEED = 12345


@dataclass(frozen=True)
class Interval:
    """A score with what is known of its spread.

    Attributes:
        score: mean over seeds (and languages).
        sd: standard deviation over seeds (n − 1); None with one seed.
        ci95: bootstrap over sentences, and over seeds where there are several.
    """

    score: float
    sd: float | None
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """A method against the best one.

    Attributes:
        best: whether it is the best one itself.
        difference: its average score less that of the best, ≤ 0.
        pvalue: two-sided, Holm-corrected over all comparisons; 1 for the best.
        least: no resample was as far: so many can show no smaller p, and it is at most that.
        mark: the best, or not significantly worse at 5%; None where there is one seed only.
    """

    best: bool
    difference: float
    pvalue: float
    least: bool
    mark: bool | None


class Resampler:
    """The resamples of a test set, drawn once and used for every method.

    Args:
        sizes: language → number of its test sentences.
        corpus_score: score from summed statistics, [S].
        resamples: how many.
        seed: of the draws.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        corpus_score: Callable[[Floats], float],
        resamples: int = RESAMPLES,
        seed: int = SEED,
    ) -> None:
        self.corpus_score = corpus_score
        self.resamples = resamples
        self.seed = seed
        self._counts = {lang: draw_counts(n, resamples, seed) for lang, n in sizes.items()}

    def scores(self, statistics: Statistics, method: str) -> dict[str, Floats]:
        """Score of each resample, [resamples], for each language; seeds are drawn too."""
        found = {}
        for lang, seeds in statistics.items():
            counts = self._counts[lang]
            each = np.array(
                [[self.corpus_score(totals) for totals in counts @ part] for part in seeds]
            )  # [seeds, resamples]
            if len(seeds) > 1:
                # seeds of a method are no pairs of another's: each method draws its own,
                # the same ones in every language
                name = sum(method.encode())
                drawn = np.random.default_rng([self.seed, name]).integers(
                    len(seeds), size=(self.resamples, len(seeds))
                )
                each = each[drawn, np.arange(self.resamples)[:, None]].mean(axis=1)
            else:
                each = each[0]
            found[lang] = each
        return found

    def interval(self, statistics: Statistics, resampled: Mapping[str, Floats]) -> Interval:
        """Mean over languages and seeds with its spread.

        Args:
            statistics: of one method, for the languages wanted.
            resampled: from :meth:`scores`.
        """
        langs = list(statistics)
        each = [[self.corpus_score(part.sum(axis=0)) for part in statistics[x]] for x in langs]
        score = float(np.mean([np.mean(seeds) for seeds in each]))
        sd = None
        if all(len(seeds) == len(each[0]) for seeds in each) and len(each[0]) > 1:
            sd = float(np.std(np.mean(each, axis=0), ddof=1))
        averaged = np.mean([resampled[lang] for lang in langs], axis=0)
        return Interval(score, sd, percentile_interval(averaged))


def compare_with_best(
    statistics: Mapping[str, Statistics], resampler: Resampler
) -> dict[str, Verdict]:
    """Judge every method by its average over languages.

    Args:
        statistics: method → its statistics, for the same languages each.
        resampler: of these languages' test sets.

    Returns:
        method → verdict; empty if there is no method.
    """
    if not statistics:
        return {}
    averages: dict[str, float] = {}
    resampled: dict[str, Floats] = {}
    for method, own in statistics.items():
        scores = resampler.scores(own, method)
        averages[method] = resampler.interval(own, scores).score
        resampled[method] = np.mean(list(scores.values()), axis=0)
    best = max(averages, key=lambda m: averages[m])
    raw: dict[str, float] = {}
    for method in statistics:
        if method == best:
            continue
        difference = averages[method] - averages[best]
        raw[method] = difference_pvalue(difference, resampled[method] - resampled[best])
    corrected = holm(raw)
    several = any(len(seeds) > 1 for own in statistics.values() for seeds in own.values())
    verdicts = {}
    for method in statistics:
        p = corrected.get(method, 1.0)
        mark = (p > 0.05) if several else None
        least = is_least(raw.get(method, 1.0), resampler.resamples)
        difference = averages[method] - averages[best]
        verdicts[method] = Verdict(method == best, difference, p, least, mark)
    return verdicts


def difference_pvalue(difference: float, resampled: Floats) -> float:
    """Two-sided p of no difference, by the paired bootstrap; 1 where the scores are equal.

    Args:
        difference: of the two scores on the whole test set.
        resampled: the same of each resample, [resamples].
    """
    if not difference:
        return 1.0
    # centred, the resamples are those of two methods that do not differ
    centred = np.abs(resampled - resampled.mean())
    return (int((centred >= abs(difference)).sum()) + 1) / (len(resampled) + 1)


def is_least(pvalue: float, resamples: int) -> bool:
    """Whether an uncorrected p of :func:`difference_pvalue` is the least that it can be."""
    return pvalue < 1.5 / (resamples + 1)


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction (1979): the smallest times n, the next times n − 1, …"""
    ordered = sorted(pvalues, key=lambda name: pvalues[name])
    corrected, largest = {}, 0.0
    for place, name in enumerate(ordered):
        largest = max(largest, min(1.0, pvalues[name] * (len(ordered) - place)))
        corrected[name] = largest
    return corrected
