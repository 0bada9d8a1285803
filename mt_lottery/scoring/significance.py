"""The paired bootstrap over sentences (Koehn 2004): intervals, differences, p-values.

Sentences are drawn with replacement, the same ones for every system, and the corpus score is
computed again from the summed sufficient statistics of those drawn.  Indices are drawn as
sacrebleu draws them, so that for one seed interval and p-value equal its own
(``sacrebleu.significance``).  Test sets of one size share their draws: those of Flores or NTREX
are the same sentences in every language, so a hard sentence is hard in all of them at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mt_lottery.errors import ScoreError
from mt_lottery.scoring.metric import (
    CorpusMetric,
    Floats,
    Metric,
    MetricContext,
    Scored,
    can_be_resampled,
)

RESAMPLES, SEED = 1000, 12345
LEVEL = 0.05


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
class Difference:
    """A system against another one on the same sentences.

    Attributes:
        difference: score of the system less that of the other, means over seeds.
        ci95: 95% percentile interval of the difference over resamples.
        pvalue: two-sided, of no difference; 1 where the scores are equal, and never below
            :func:`least_pvalue`.
    """

    difference: float
    ci95: tuple[float, float]
    pvalue: float

    @property
    def worse(self) -> bool:
        """Significantly below the other, at 5%."""
        return self.difference < 0 and self.pvalue <= LEVEL


@dataclass(frozen=True)
class Corrected(Difference):
    """One of several differences.

    Attributes:
        corrected: the p-value after Holm's correction over all of them.
        least: no resample was as far: so many can show no smaller p-value, and it is at most that.
            False where the number of sentences is what keeps it up.
    """

    corrected: float
    least: bool


@dataclass(frozen=True)
class ResampledScore:
    """A score on the test set, and on every resample of it.

    Attributes:
        score: mean over seeds (and test sets).
        resamples: [resamples]; the same sentences are drawn for every system.
        seeds: score of each seed; None for a mean over test sets with unequal numbers of seeds.
        sentences: of the test set, of the largest where there are several; None: not known.
    """

    score: float
    resamples: Floats
    seeds: Floats | None = None
    sentences: int | None = None

    @property
    def several(self) -> bool:
        """Whether there are several seeds."""
        return self.seeds is None or len(self.seeds) > 1

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95% percentile interval."""
        return percentile_interval(self.resamples)

    @property
    def interval(self) -> Interval:
        """The score with its spread."""
        known = self.seeds is not None and len(self.seeds) > 1
        sd = float(np.std(self.seeds, ddof=1)) if known else None  # type: ignore[arg-type]
        return Interval(self.score, sd, self.ci95)

    def minus(self, other: ResampledScore) -> Difference:
        """The difference to another system on the same test set."""
        difference, drawn = self.score - other.score, self.resamples - other.resamples
        # centred, the resamples are those of two systems that do not differ
        centred = np.abs(drawn - drawn.mean())
        pvalue = (int((centred >= abs(difference)).sum()) + 1) / (len(drawn) + 1)
        pvalue = max(pvalue, least_pvalue(self.sentences)) if difference else 1.0
        return Difference(difference, percentile_interval(drawn), pvalue)


def least_pvalue(sentences: int | None) -> float:
    """The smallest two-sided p-value that so many pairs of sentences can show; 0 if not known.

    Resamples of a handful of sentences hardly differ from each other: of four, a thousand resamples
    are some 35 different ones, and a p-value counted among them may be far too small.  An exact
    test of paired differences flips their signs, which can be done in 2^n ways, two of them as
    extreme as the differences found: 2^(1 - n) (Fisher 1935).
    """
    return 0.0 if sentences is None else 2.0 ** (1 - sentences)


class Bootstrap:
    """Scores systems on the resamples of a test set.

    Args:
        corpus_score: score from summed statistics, [S].
        resamples: how many.
        seed: of the draws.
    """

    def __init__(
        self,
        corpus_score: Callable[[Floats], float],
        resamples: int = RESAMPLES,
        seed: int = SEED,
    ) -> None:
        self.corpus_score = corpus_score
        self.resamples = resamples
        self.seed = seed

    def scores(self, seeds: Sequence[Floats], name: str | None = None) -> ResampledScore:
        """A system's score, the mean over its seeds.

        Args:
            seeds: sentence statistics of each seed, [N, S] each.
            name: of the system: of several seeds as many are drawn in each resample, the same
                ones on every test set; None: on every resample all of them count.
        """
        counts = draw_counts(len(seeds[0]), self.resamples, self.seed)
        each = np.array(
            [[self.corpus_score(totals) for totals in counts @ part] for part in seeds]
        )  # [seeds, resamples]
        whole = np.array([self.corpus_score(part.sum(axis=0)) for part in seeds])
        return over_seeds(whole, each, name, len(seeds[0]), self.seed)


def over_seeds(
    whole: Floats, resamples: Floats, name: str | None, sentences: int, seed: int = SEED
) -> ResampledScore:
    """A system's score from those of its seeds.

    Args:
        whole: the score of each seed, [seeds].
        resamples: the same on every resample, [seeds, resamples].
        name: as in :meth:`Bootstrap.scores`.
        sentences: of the test set.
        seed: of the draws.
    """
    if len(whole) > 1 and name is not None:
        # seeds of a system are no pairs of another's: each system draws its own
        rng = np.random.default_rng([seed, *name.encode()])
        drawn = rng.integers(len(whole), size=(resamples.shape[1], len(whole)))
        found = resamples[drawn, np.arange(resamples.shape[1])[:, None]].mean(axis=1)
    else:
        found = resamples.mean(axis=0)
    return ResampledScore(float(whole.mean()), found, whole, sentences)


def resampled(
    bootstrap: Bootstrap | None, seeds: Sequence[Floats | None], name: str
) -> ResampledScore | None:
    """As :meth:`Bootstrap.scores`; None where the metric or a seed has no sentence statistics."""
    known = [each for each in seeds if each is not None]
    if bootstrap is None or not known or len(known) < len(seeds):
        return None
    return bootstrap.scores(known, name)


def average(parts: Sequence[ResampledScore]) -> ResampledScore:
    """The mean over test sets (languages)."""
    score = float(np.mean([part.score for part in parts]))
    seeds = [part.seeds for part in parts if part.seeds is not None]
    alike = len(seeds) == len(parts) and len({len(each) for each in seeds}) == 1
    resampled: Floats = np.mean([part.resamples for part in parts], axis=0)
    sizes = [part.sentences for part in parts]
    # languages share their sentences: more of them are no more of those
    largest = None if None in sizes else max(size for size in sizes if size is not None)
    return ResampledScore(score, resampled, np.mean(seeds, axis=0) if alike else None, largest)


@lru_cache(maxsize=4)
def draw_counts(sentences: int, resamples: int, seed: int) -> Floats:
    """How often each sentence occurs in each resample, [resamples, sentences]; read only."""
    drawn = np.random.default_rng(seed).choice(sentences, size=(resamples, sentences), replace=True)
    flat = (drawn + sentences * np.arange(resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=resamples * sentences)
    return counts.reshape(resamples, sentences).astype(np.float64)


def percentile_interval(scores: Floats, one_in: int = 40) -> tuple[float, float]:
    """The 95% interval: one score in forty cut off on either side, as sacrebleu does.

    Args:
        scores: [resamples].
        one_in: another share to cut off; one in twenty leaves the 90% interval.
    """
    ordered = np.sort(scores)
    cut = len(ordered) // one_in
    return float(ordered[cut]), float(ordered[len(ordered) - cut - 1])


class ResampledMetric(CorpusMetric):
    """A metric whose interval is the bootstrap's over its sentence statistics.

    Args:
        context: ``bootstrap`` and ``seed`` are read.
    """

    def __init__(self, context: MetricContext) -> None:
        self.context = context

    def signature(self) -> str:
        """How the score is computed; known once something has been scored."""
        raise NotImplementedError

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> Scored:
        """Corpus score with its 95% interval.

        Raises:
            ScoreError: as :meth:`statistics`.
        """
        bootstrap = Bootstrap(self.corpus_score, self.context.bootstrap, self.context.seed)
        found = bootstrap.scores([self.statistics(hypotheses, references)])
        return Scored(found.score, found.ci95, self.signature())


def paired_bootstrap(
    metric: Metric,
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Difference:
    """Compare two systems on the same sentences, drawn alike for both.

    The p-value is that of sacrebleu's paired bootstrap, but 1 where the scores are equal, and with
    ten sentences or fewer never below what they can show (:func:`least_pvalue`).  It centres
    absolute differences, so a clear difference gets about half of the two-sided p
    (:meth:`ResampledScore.minus`): the interval may hold 0 where p < 0.05.

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
    bootstrap = Bootstrap(metric.corpus_score, resamples, seed)
    first, second = (
        bootstrap.scores([metric.statistics(texts, references)]) for texts in (baseline, system)
    )
    found, drawn = second.minus(first), second.resamples - first.resamples
    # Centring puts the resamples under the hypothesis of no difference; the ones added keep the
    # test exact with few resamples.
    extreme = int((np.abs(drawn) - np.abs(drawn).mean() > abs(found.difference)).sum())
    # Identical outputs have no resample beyond 0: the formula would call them surely different.
    pvalue = max((extreme + 1) / (resamples + 1), least_pvalue(second.sentences))
    return dataclasses.replace(found, pvalue=pvalue if found.difference else 1.0)


def holm(pvalues: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction (1979): the smallest times n, the next times n − 1, …"""
    ordered = sorted(pvalues, key=lambda name: pvalues[name])
    corrected, largest = {}, 0.0
    for place, name in enumerate(ordered):
        largest = max(largest, min(1.0, pvalues[name] * (len(ordered) - place)))
        corrected[name] = largest
    return corrected


def differences(scores: Mapping[str, ResampledScore], against: str) -> dict[str, Corrected]:
    """Every other system less a chosen one, Holm-corrected over all of them.

    Args:
        scores: system → its score, all of one test set.
        against: one of them.
    """
    found = {name: own.minus(scores[against]) for name, own in scores.items() if name != against}
    corrected = holm({name: each.pvalue for name, each in found.items()})
    return {
        name: Corrected(
            *(each.difference, each.ci95, each.pvalue, corrected[name]),
            least=each.pvalue < 1.5 / (len(scores[name].resamples) + 1),
        )
        for name, each in found.items()
    }
