"""Scores with their provenance: metrics, intervals, comparisons, what generation looked like."""

from __future__ import annotations

from mt_lottery.scoring.generation import generation_statistics
from mt_lottery.scoring.metric import Metric, MetricContext, Scored, make_metric
from mt_lottery.scoring.report import evaluate
from mt_lottery.scoring.significance import Comparison, paired_bootstrap

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
