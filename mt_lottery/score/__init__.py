"""Scores with their provenance: metrics, intervals, comparisons, what generation looked like."""

from __future__ import annotations

from mt_lottery.score.generation import generation_statistics
from mt_lottery.score.metric import Metric, MetricContext, Scored, make_metric
from mt_lottery.score.report import evaluate
from mt_lottery.score.significance import Comparison, paired_bootstrap

__all__ = [
    "Comparison",
    "Metric",
    "MetricContext",
    "Scored",
    "evaluate",
    "generation_statistics",
    "make_metric",
    "paired_bootstrap",
]
