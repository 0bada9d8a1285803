"""Scores with their provenance: metrics, intervals, comparisons, what generation looked like."""

from __future__ import annotations

from mt_lottery.scoring.generation import generation_statistics
from mt_lottery.scoring.metric import Metric, MetricContext, Scored, make_metric
from mt_lottery.scoring.report import evaluate
from mt_lottery.scoring.significance import Difference, paired_bootstrap

Comparison = Difference  # its name in version 0.1

__all__ = [
    "Comparison",
    "Difference",
    "Metric",
    "MetricContext",
    "Scored",
    "evaluate",
    "generation_statistics",
    "make_metric",
    "paired_bootstrap",
]
