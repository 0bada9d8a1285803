"""``mtl.score``: translations of any origin, scored as the toolkit scores its own."""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from mt_lottery.data.text import decomposed
from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import ScoreError, checked_keywords, plural, shorten
from mt_lottery.reading.given_texts import check_ordered, check_texts
from mt_lottery.report.printing import Grid, as_text
from mt_lottery.scoring.metric import WHICH, Metric, MetricContext, check_parallel
from mt_lottery.scoring.report import evaluate, shown_column, shown_score
from mt_lottery.scoring.trial import doubts_of


class Scores(dict[str, dict[str, Any]]):
    """Metric key → ``{"raw": {"score", "ci95"}, "first_line": {…}, "signature", "column"}``.

    A dictionary, ready for JSON; it prints as a table.
    """

    def grid(self) -> Grid:
        """A row a metric: raw and first-line score with their 95% intervals."""
        table = Grid("95% intervals by bootstrap over sentences", ["metric", "raw", "first line"])
        for key, one in self.items():
            table.add(shown_column(one, key), *(shown_score(one, which) for which in WHICH))
        return table

    def __str__(self) -> str:
        return as_text(self.grid())

    def _repr_html_(self) -> str:
        signatures = "<br>".join(html.escape(one["signature"]) for one in self.values())
        return f"{self.grid().html()}<small>{signatures}</small>"

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``: a row a metric and kind of output (raw, first_line)."""
        import pandas

        rows = [
            {
                "metric": key,
                "output": which,
                "score": one[which]["score"],
                "low": one[which]["ci95"][0],
                "high": one[which]["ci95"][1],
                "signature": one["signature"],
            }
            for key, one in self.items()
            for which in ("raw", "first_line")
        ]
        return pandas.DataFrame(rows)


@checked_keywords
def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str] | None = None,
    metrics: Sequence[str | Metric] = ("spbleu", "chrf"),
    *,
    target: str = "",
    tokenizer: Any = None,
    bootstrap: int = 1000,
    seed: int = 12345,
) -> Scores:
    """Score whole outputs and their first lines, with intervals.

    A language model that does not stop goes on after its translation: the score of the first
    line tells what the translation is worth, the raw score what a user would get.

        >>> import mt_lottery as mtl
        >>> found = mtl.score(["the cat sat on the mat\\n\\nFrench: le"],
        ...                   ["the cat sat on the mat"], metrics=["chrf"], bootstrap=20)
        >>> found["chrf"]["first_line"]["score"] > found["chrf"]["raw"]["score"]
        True

    Args:
        hypotheses: N outputs as they came, line breaks included.
        references: N.
        sources: N, for a metric that reads them (COMET).
        metrics: registered names, or objects as ``@register_metric`` describes them.
        target: code of the target language (``ro``), for a metric that asks for it.
        tokenizer: of the model; for BLEU over its subwords, which takes spBLEU's place where
            spBLEU's own model cannot be had.
        bootstrap: resamples for the intervals.
        seed: of the resampling; the default is sacrebleu's.

    Raises:
        ScoreError: different numbers of texts, none, a text that is none, or an empty reference;
            a metric that cannot be computed here.
        RegistryError: unknown metric, with the nearest match.
    """
    hypotheses = check_texts("hypotheses", hypotheses, ScoreError)
    check_ordered("references", references, ScoreError)
    references = _listed(references)
    if isinstance(references, list) and references and isinstance(references[0], list | tuple):
        raise ScoreError("references: a list of lists; one reference a sentence is scored.")
    references = check_texts("references", references, ScoreError)
    check_parallel(hypotheses, references)
    for place, text in enumerate(references):
        if not text.strip():  # it would cost an output nothing, whatever that says
            raise ScoreError(f"references[{place}] is empty: there is nothing to compare with.")
    if sources is not None:
        sources = check_texts("sources", sources, ScoreError)
        if len(sources) != len(references):
            raise ScoreError(
                f"{plural(len(sources), 'source')}, but {plural(len(references), 'reference')}: "
                "give one each."
            )
    metrics = [metrics] if isinstance(metrics, str) else _listed(metrics)
    if not isinstance(metrics, list) or not metrics:
        raise ScoreError(f"metrics must be a list of names, as ['chrf'], not {shorten(metrics)}.")
    for metric in metrics:
        if not isinstance(metric, str) and not all(hasattr(metric, n) for n in ("key", "score")):
            raise ScoreError(
                f"metrics: {shorten(metric)} is neither a registered name nor a metric as "
                "@register_metric describes them."
            )
    if isinstance(tokenizer, str):
        raise ScoreError("tokenizer must be a tokenizer, not a text: AutoTokenizer.from_pretrained")
    for name, number, least in (("bootstrap", bootstrap, 1), ("seed", seed, 0)):
        if not isinstance(number, Integral) or number < least:
            raise ScoreError(f"{name} must be a whole number ≥ {least}, not {number!r}.")
    if said := decomposed(references):
        warnings.warn(said, stacklevel=3)  # of the caller: check_keywords is between
    name = "model" if tokenizer is None else type(tokenizer).__name__
    context = MetricContext(tokenizer, name, target, bootstrap, seed, sources)
    outputs = [Hypothesis(text, 0, True) for text in hypotheses]
    scores = evaluate(outputs, references, metrics, context)
    for line in doubts_of(scores):
        warnings.warn(line, stacklevel=3)
    return Scores(scores)


def _listed(given: Any) -> Any:
    """What can be gone through as a list, so that it can be gone through twice."""
    once = isinstance(given, Iterable) and not isinstance(given, str | Mapping)
    return list(given) if once else given
