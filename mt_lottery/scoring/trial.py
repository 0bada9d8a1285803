"""Metrics tried out before any work, and what they give back, checked.

A metric that fails after hours of training, or gives something else than a score, loses the
result that it was to judge.  So each is made for the run's target language and scores two
sentences first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mt_lottery.registry import METRICS
from mt_lottery.scoring.metric import WHICH, MetricContext, Scored, can_be_resampled, make_metric
from mt_lottery.system.values import is_number

SOURCES = ("A first sentence to be scored.", "And here is another one.")
REFERENCES = ("O primă propoziție de evaluat.", "Și iată încă una.")
HYPOTHESES = ("O primă propoziție de evaluat.", "Iată alta.")


class NotYetAvailable(Exception):
    """The tokenizer that a metric asked for is not available before the model is loaded."""


class LaterTokenizer:
    """Stands for the model's tokenizer until a metric uses it.

    Args:
        load: gives the tokenizer, or None.
    """

    def __init__(self, load: Any) -> None:
        self._load = load
        self._made: Any = None

    def _tokenizer(self) -> Any:
        if self._made is None:
            self._made = self._load()
            if self._made is None:
                raise NotYetAvailable
        return self._made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the tokenizer."""
        return self._tokenizer()(*args, **kwargs)

    def __len__(self) -> int:
        """As the tokenizer."""
        return len(self._tokenizer())

    def __getattr__(self, name: str) -> Any:
        """As the tokenizer."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._tokenizer(), name)


def try_metric(name: str, context: MetricContext) -> str | None:
    """Make a metric, and have it score two sentences.

    One that has a ``check`` of its own (COMET: its model takes long to load) is only made.

    Args:
        name: as registered.
        context: with the run's target language and settings; the tokenizer may be a
            :class:`LaterTokenizer`.

    Returns:
        the key under which a record has its score; None where it could not be made yet.

    Raises:
        RegistryError: unknown name.
        ScoreError: it cannot be computed here.
        PluginError: it gives back something else than its contract says.
    """
    kind = METRICS.get(name)
    if hasattr(kind, "check"):
        kind.check(context.settings)
    try:
        metric = make_metric(name, context)
        check_metric(name, metric)
        # the model's own subwords always work, and reading a large tokenizer takes seconds
        if not hasattr(kind, "check") and metric.key != "bleu_subword":
            _score(name, metric)
        return metric.key
    except NotYetAvailable:
        return None  # a metric that needs the tokenizer of a model that is not here yet


def _score(name: str, metric: Any) -> None:
    hypotheses, references = list(HYPOTHESES), list(REFERENCES)
    check_scored(name, metric.score(hypotheses, references))
    if can_be_resampled(metric):
        each = metric.statistics(hypotheses, references)
        check_statistics(name, each, len(references))
        total = metric.corpus_score(np.asarray(each, dtype=np.float64).sum(0))
        _check_number(name, "corpus_score(totals)", total)


def check_metric(name: str, metric: Any) -> None:
    """Make sure that what was made is a metric.

    Raises:
        PluginError: it lacks ``key``, ``column`` or ``score``.
    """
    own, wanted = type(metric).__name__, "text (the name in the record, the heading in tables)"
    for attribute in ("key", "column"):
        value = getattr(metric, attribute, None)
        good = isinstance(value, str) and value.strip()
        METRICS.expect(name, value, f"{own}.{attribute} must be", wanted, good)
    score = getattr(metric, "score", None)
    wanted = "a method of (hypotheses, references)"
    METRICS.expect(name, score, f"{own}.score must be", wanted, callable(score))


def check_scored(name: str, scored: Any) -> None:
    """Make sure that ``score`` gave a score.

    Raises:
        PluginError: something else, or a number that is not finite.
    """
    METRICS.expect(name, scored, "score(hypotheses, references) must return", Scored)
    _check_number(name, "Scored.score", scored.score)
    bounds = scored.ci95
    good = isinstance(bounds, (tuple, list)) and len(bounds) == 2
    METRICS.expect(name, bounds, "Scored.ci95 must be", "two numbers", good)
    for bound in bounds:
        _check_number(name, "a bound of Scored.ci95", bound)
    wanted = "two numbers, the lower bound first"
    METRICS.expect(name, bounds, "Scored.ci95 must be", wanted, bounds[0] <= bounds[1])
    signature, wanted = scored.signature, "text that says how the score was computed"
    good = isinstance(signature, str) and bool(signature)
    METRICS.expect(name, signature, "Scored.signature must be", wanted, good)


def check_statistics(name: str, each: Any, sentences: int) -> None:
    """Make sure that sentence statistics are finite numbers, a row a sentence.

    Raises:
        PluginError: they are not.
    """
    try:
        array = np.asarray(each, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(())
    METRICS.expect(
        name,
        each,
        "statistics(hypotheses, references) must return",
        f"finite numbers, [N, S], here [{sentences}, S]",
        array.ndim == 2 and len(array) == sentences and np.isfinite(array).all(),
    )


def _check_number(name: str, what: str, value: Any) -> None:
    good = is_number(value) and math.isfinite(value)
    METRICS.expect(name, value, f"{what} must be", "a finite number", good)


def doubts_of(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What scores have that is most likely a metric's mistake, a sentence each.

    The interval of a few sentences may miss the score by a little, not by more than its width.

    Args:
        scores: as :func:`mt_lottery.scoring.report.evaluate` gives them.
    """
    found = []
    for key, entry, which in ((key, entry, w) for key, entry in scores.items() for w in WHICH):
        score, (low, high) = entry[which]["score"], entry[which]["ci95"]
        room = high - low + 1e-6 * max(1.0, abs(score))
        if not low - room <= score <= high + room:
            found.append(
                f"metric {key}: its score ({which}) is {score:.4g}, far outside of its interval, "
                f"{low:.4g} to {high:.4g}; they should be on one scale."
            )
    return found
