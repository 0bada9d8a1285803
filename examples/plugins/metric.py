"""Share of translations that are the reference, letter by letter: metrics=[exact]."""

from collections.abc import Sequence

import numpy as np

from mt_lottery.plugin import MetricContext, Scored, ScoreError, register_metric


@register_metric("exact")
class Exact:
    """0 to 100; the interval is a percentile bootstrap over sentences."""

    key, column = "exact", "exact"

    def __init__(self, context: MetricContext) -> None:
        self.context = context

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> Scored:
        """Score one system."""
        if len(hypotheses) != len(references) or not references:
            raise ScoreError("exact: one hypothesis for each reference is needed.")
        same = np.array([h == r for h, r in zip(hypotheses, references, strict=True)], float)
        draw = np.random.default_rng(self.context.seed)
        drawn = draw.integers(len(same), size=(self.context.bootstrap, len(same)))
        low, high = np.percentile(100 * same[drawn].mean(axis=1), [2.5, 97.5])
        return Scored(100 * same.mean(), (float(low), float(high)), "exact|version:1")
