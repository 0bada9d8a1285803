"""What every metric is given and gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from mt_lottery.errors import ScoreError, plural
from mt_lottery.languages import code_key, find_language
from mt_lottery.registry import METRICS

Floats = NDArray[np.float64]

#: What is scored: the whole output, and what comes before its first line break.
WHICH = ("raw", "first_line")


@dataclass(frozen=True)
class MetricContext:
    """What a metric may need besides the texts.

    Attributes:
        tokenizer: the model's own, for BLEU over its subwords; may be None otherwise.
        tokenizer_name: names it in columns and signatures: ``"gemma3"``.
        target: code of the target language (``"ro"``), or an object with such a ``code``.
        bootstrap: resamples for intervals and comparisons.
        seed: of the resampling; sacrebleu's own default.
        sources: the texts that were translated, one a reference, for a metric that reads them.
        settings: the section ``metric`` of the configuration; None where it does not matter.
        device: the run's, for a metric that computes much.

    Raises:
        ScoreError: ``bootstrap`` below 1.

    """

    tokenizer: Any
    tokenizer_name: str
    target: Any
    bootstrap: int = 1000
    seed: int = 12345
    sources: Sequence[str] | None = None
    settings: Any = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.bootstrap < 1:
            raise ScoreError(f"bootstrap={self.bootstrap}: must be at least 1.")


@dataclass(frozen=True)
class Scored:
    """One score of one set of hypotheses.

    Attributes:
        score: as sacrebleu gives it, 0 to 100; a model's as it gives it (COMET: mostly 0 to 1).
        ci95: bounds of the 95% bootstrap percentile interval over sentences.
        signature: how it was computed; a score is not comparable with one of another signature.

    """

    score: float
    ci95: tuple[float, float]
    signature: str


class Metric(Protocol):
    """What ``@register_metric`` registers: called with a context, it gives an object like this.

    :class:`MetricExtras` has what it may have beside this.

    Attributes:
        key: under which the record keeps it; may differ from the name asked for (a fallback).
        column: its heading in a table.

    """

    key: str
    column: str

    def __init__(self, context: MetricContext) -> None: ...

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> Scored:
        """Score one system; raises ScoreError unless both have the same, positive length."""
        ...


class CorpusMetric(Protocol):
    """A metric that is a function of summed sentence statistics."""

    key: str

    def statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
        """Sufficient statistics, [N, S]."""
        ...

    def corpus_score(self, totals: Floats) -> float:
        """The corpus score from their sum over sentences, [S]."""
        ...


def can_be_resampled(metric: Metric) -> TypeGuard[CorpusMetric]:
    """Whether a metric has sentence statistics (all of ours have; a third party's may not)."""
    return hasattr(metric, "statistics") and hasattr(metric, "corpus_score")


class MetricExtras:
    """What a metric may have beside :class:`Metric`.

    Attributes:
        shown_times: a factor for tables.
        keeps_segments: the record lists the sentences' scores.

    """

    key = column = ""  # an instance may have them alone
    shown_times = 1
    keeps_segments = False

    statistics = CorpusMetric.statistics
    corpus_score = CorpusMetric.corpus_score

    def ahead(self, systems: Sequence[Sequence[str]], references: Sequence[str]) -> None:
        """Score several systems at once, before each is asked for."""

    @staticmethod
    def check(settings: Any) -> None:
        """Called before any work; raises ScoreError."""

    @staticmethod
    def identity(settings: Any) -> Any:
        """What belongs to the run's hash."""


def make_metric(name: str, context: MetricContext) -> Metric:
    """The metric registered under ``name``.

    ``spbleu`` gives ``bleu_subword`` where its SentencePiece model cannot be had: look at
    ``key`` and ``column``.

    Raises:
        RegistryError: unknown name (with the nearest match).
        ScoreError: it cannot be computed here (a missing package, no tokenizer).

    """
    return cast(Metric, METRICS.get(name)(context))


def language_code(language: Any) -> str:
    """``"zh"`` of ``"zh"``, ``"zho"``, ``"zh_CN"``, ``"ZH-Hant"`` or a Language object."""
    code = code_key(str(getattr(language, "code", language))).partition("_")[0]
    known = find_language(code)
    return code if known is None else known.code


def one_line(text: str) -> str:
    """Whitespace runs, newlines among them, as single blanks.

    A raw hypothesis may hold newlines.  sacrebleu reads them as whitespace, except that its 13a
    tokenizer joins what is around a hyphen before one; no other text is scored differently.
    """
    return " ".join(text.split())


def check_parallel(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Refuse what sacrebleu would cut to the shorter side in silence.

    Raises:
        ScoreError: unequal numbers, or none at all.

    """
    if len(hypotheses) != len(references):
        raise ScoreError(
            f"{plural(len(hypotheses), 'hypothesis')} but {plural(len(references), 'reference')}: "
            "there must be one of each for every sentence."
        )
    if not hypotheses:
        raise ScoreError("There is no sentence to score.")
