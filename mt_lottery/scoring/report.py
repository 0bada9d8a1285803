"""All scores of one system, in the form of the record's ``scores``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mt_lottery.decoding.translation import Hypothesis
from mt_lottery.errors import ScoreError
from mt_lottery.report.numbers import spread
from mt_lottery.scoring.metric import (
    Metric,
    MetricContext,
    can_be_resampled,
    check_parallel,
    make_metric,
)
from mt_lottery.scoring.trial import check_scored, check_statistics


def evaluate(
    hypotheses: Sequence[Hypothesis],
    references: Sequence[str],
    metrics: Sequence[str | Metric],
    context: MetricContext,
) -> dict[str, dict[str, Any]]:
    """Score raw outputs and first lines with every metric.

    Args:
        hypotheses: N, in the order of the references.
        references: N.
        metrics: registered names, or metrics that are made already.

    Returns:
        metric key (``"bleu_subword"`` if that took the place of ``"spbleu"``) →
        ``{"raw": {"score", "ci95": [lo, hi]}, "first_line": {…}, "signature", "column"}``
        (and ``"segments"``, ``"shown_times"`` for a metric that has them: COMET); plain numbers,
        strings and lists, ready for JSON.

    Raises:
        RegistryError: unknown metric.
        ScoreError: unequal numbers of hypotheses and references, or none; or a metric that
            cannot be computed here.

    """
    made = make_metrics(metrics, context)
    texts = texts_of(hypotheses)
    check_parallel(texts["raw"], references)
    found = {}
    for metric in made:
        _ahead(metric, list(texts.values()), references)
        found[metric.key] = _scored(metric, texts, references)
    return found


def shown_score(entry: Mapping[str, Any], which: str) -> str:
    """A score of a record with its interval, as tables show it."""
    times, found = entry.get("shown_times", 1), entry[which]
    return spread(times * found["score"], [times * bound for bound in found["ci95"]])


def shown_column(entry: Mapping[str, Any], key: str) -> str:
    """What the column of a record's metric is called."""
    times = entry.get("shown_times", 1)
    return f"{entry.get('column', key)}{'' if times == 1 else f' ×{times:g}'}"


def texts_of(hypotheses: Sequence[Hypothesis]) -> dict[str, list[str]]:
    """What is scored, by the names of :data:`WHICH`: whole outputs, and their first lines."""
    return {"raw": [h.text for h in hypotheses], "first_line": [h.first_line for h in hypotheses]}


def make_metrics(metrics: Sequence[str | Metric], context: MetricContext) -> list[Metric]:
    """Metrics by name; one that is made already stays, with all that it has computed."""
    return [make_metric(m, context) if isinstance(m, str) else m for m in metrics]


def _ahead(metric: Metric, systems: Sequence[Sequence[str]], references: Sequence[str]) -> None:
    """Have a metric that can do so score several outputs at once."""
    together = getattr(metric, "ahead", None)
    if together is not None:
        together([[*system] for system in systems], [*references])


def sentence_statistics(
    hypotheses: Sequence[Hypothesis],
    references: Sequence[str],
    metrics: Sequence[str | Metric],
    context: MetricContext,
) -> list[dict[str, dict[str, list[float]]]]:
    """What each sentence adds to each score: enough to score any resample of the test set.

    Args:
        hypotheses: N, in the order of the references.
        references: N.
        metrics: as for :func:`evaluate`; those without sentence statistics are left out.
        context: as for :func:`evaluate`.

    Returns:
        N objects: metric key → ``{"raw": [S], "first_line": [S]}``, ready for JSON.
    """
    lines: list[dict[str, dict[str, list[float]]]] = [{} for _ in hypotheses]
    texts = texts_of(hypotheses)
    for metric in make_metrics(metrics, context):
        _ahead(metric, list(texts.values()), references)
        if not can_be_resampled(metric):
            continue
        for which, outputs in texts.items():
            each = metric.statistics([*outputs], [*references])
            check_statistics(metric.key, each, len(references))
            for line, numbers in zip(lines, each, strict=True):
                whole = [int(x) if float(x).is_integer() else float(x) for x in numbers]
                line.setdefault(metric.key, {})[which] = whole
    return lines


def _scored(
    metric: Metric, texts: Mapping[str, list[str]], references: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    signatures: list[str] = []
    for which, outputs in texts.items():
        scored = metric.score([*outputs], [*references])  # its own: it may change them
        check_scored(metric.key, scored)
        signatures.append(scored.signature)
        found[which] = {"score": float(scored.score), "ci95": [float(x) for x in scored.ci95]}
        if getattr(metric, "keeps_segments", False) and can_be_resampled(metric):
            each = metric.statistics([*outputs], [*references])
            found[which]["segments"] = [metric.corpus_score(one) for one in each]
    if len(set(signatures)) > 1:
        raise ScoreError(
            f"Metric '{metric.key}' changed its signature between raw output and first line: "
            f"{' and '.join(signatures)}."
        )
    found |= {"signature": signatures[0], "column": metric.column}
    if (times := getattr(metric, "shown_times", 1)) != 1:
        found["shown_times"] = times
    return found
