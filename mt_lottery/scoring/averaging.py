"""Scores of several directions as one: the mean, with an interval over all their sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mt_lottery.scoring.metric import WHICH, Metric, MetricContext, can_be_resampled
from mt_lottery.scoring.significance import Bootstrap, ResampledScore, average

#: Metric → ``raw`` or ``first_line`` → resampled score.
Resampled = Mapping[str, Mapping[str, ResampledScore]]


def resampled_of(
    metrics: Sequence[Metric], lines: Sequence[Mapping[str, Any]], context: MetricContext
) -> dict[str, dict[str, ResampledScore]]:
    """The scores of one direction, resampled; without metrics that have no sentence statistics.

    Args:
        metrics: those of the lines.
        lines: from :func:`~mt_lottery.scoring.report.sentence_statistics`.
        context: how often, and with which seed.
    """
    found: dict[str, dict[str, ResampledScore]] = {}
    for metric in metrics:
        if not can_be_resampled(metric):
            continue
        bootstrap = Bootstrap(metric.corpus_score, context.bootstrap, context.seed)
        found[metric.key] = {
            which: bootstrap.scores([np.array([line[metric.key][which] for line in lines])])
            for which in WHICH
        }
    return found


def average_scores(
    scores: Sequence[Mapping[str, Any]], resampled: Sequence[Resampled]
) -> dict[str, Any]:
    """The mean over directions, in the form of the record's ``scores``.

    Each direction counts the same, whatever the size of its test set.  The interval is the
    bootstrap's over the sentences of all; for a metric without sentence statistics it reaches
    from the mean of the lower to that of the upper bounds, which is too wide rather than too
    narrow.

    Args:
        scores: of each direction.
        resampled: likewise, from :func:`resampled_of`.
    """
    made: dict[str, Any] = {}
    for key in scores[0]:
        if not all(key in own for own in scores):
            continue
        entries = [own[key] for own in scores]
        made[key] = {
            which: {"score": _mean([e[which]["score"] for e in entries])} for which in WHICH
        }
        for which in WHICH:
            if all(key in own for own in resampled):
                low, high = average([own[key][which] for own in resampled]).ci95
            else:
                low, high = (_mean([e[which]["ci95"][side] for e in entries]) for side in (0, 1))
            made[key][which]["ci95"] = [float(low), float(high)]
        # BLEU of Chinese has another tokenizer than that of Romanian
        signatures = dict.fromkeys(str(entry["signature"]) for entry in entries)
        made[key] |= {"signature": "; ".join(signatures), "column": entries[0]["column"]}
        if "shown_times" in entries[0]:
            made[key]["shown_times"] = entries[0]["shown_times"]
    return made


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
