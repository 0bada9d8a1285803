"""What each kind of plugin must look like; :mod:`mt_lottery.registry.conformity` checks it.

A kind's contract is the protocol or base class of its room, which :mod:`mt_lottery.plugin` makes
public: its methods are those that a plugin of the kind has, each with its parameters.  What a
plugin may have beside them is in a class of the same room (``MetricExtras``).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Contract:
    """What may be registered as one kind.

    Attributes:
        wanted: in words, for messages.
        shape: where in the package the class is whose methods a plugin's class has, or whose
            ``__call__`` has the parameters of a plugin's function.
        extras: where the class is of the methods that a plugin may have or lack.
        factory: parameters of a function that may be registered in place of a class.
        base: a plugin's class must extend ``shape``.
        schema: dotted name of the class that ``dataclass=`` must extend; None where a kind has
            no settings of its own.
    """

    wanted: str
    shape: str
    extras: str | None = None
    factory: Any = None
    base: bool = False
    schema: str | None = None


def resolve(place: str) -> type:
    """The class of a :class:`Contract`: ``"tuners.base.Tuner"``."""
    module, _, name = place.rpartition(".")
    found: type = getattr(importlib.import_module(f"mt_lottery.{module}"), name)
    return found


CONTRACTS = {
    "model": Contract(
        "a class, made without arguments, with load(config, device) and fingerprint(config)",
        "model.loading.Loader",
        "model.loading.LoaderExtras",
        schema="mt_lottery.config.ModelConfig",
    ),
    "criterion": Contract(
        "a function of (logits, labels, config) that returns the summed loss",
        "training.criteria.Criterion",
    ),
    "optimizer": Contract(
        "a function of (parameters, config) that returns a torch.optim.Optimizer",
        "training.optimizers.MakeOptimizer",
    ),
    "tuner": Contract(
        "a class that extends mt_lottery.tuners.base.Tuner and has apply(context)",
        "tuners.base.Tuner",
        base=True,
        schema="mt_lottery.config.TunerConfig",
    ),
    "selector": Contract(
        "a function of (before, after) that returns one number a row", "ticket.selection.Selector"
    ),
    "corpus": Contract(
        "a class, made from (path, config), with pool(role) and read(pool, pair)",
        "data.corpora.Corpus",
        "data.corpora.CorpusExtras",
        schema="mt_lottery.config.DataConfig",
    ),
    "template": Contract(
        "a class, made without arguments, with prompt(source, pair) and target(target)",
        "data.prompts.templates.Template",
    ),
    "metric": Contract(
        "a class, made from (context), with score(hypotheses, references), key and column, or a "
        "function of (context) that returns such an object",
        "scoring.metric.Metric",
        "scoring.metric.MetricExtras",
        lambda context: None,
    ),
    "tracker": Contract(
        "a class that extends mt_lottery.tracking.trackers.Tracker, made from (config, run_dir)",
        "tracking.trackers.Tracker",
    ),
    "engine": Contract(
        "a class, made from (config), with problems() and train(model, config, examples, …)",
        "training.engine.Engine",
    ),
}
