"""What each kind of plugin must look like; :mod:`mt_lottery.registry.conformity` checks it.

A kind's contract is a class below with the methods that a plugin of the kind has, each with
its parameters; the bodies are empty.  Tuners are checked against their base class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class _Model:
    def load(self, config, device): ...  # type: ignore[no-untyped-def]
    def fingerprint(self, config): ...  # type: ignore[no-untyped-def]
    def tokenizer(self, config): ...  # type: ignore[no-untyped-def]


class _Corpus:
    def __init__(self, path, config): ...  # type: ignore[no-untyped-def]
    def pool(self, role): ...  # type: ignore[no-untyped-def]
    def read(self, pool, pair): ...  # type: ignore[no-untyped-def]
    def report(self, pool): ...  # type: ignore[no-untyped-def]


class _Template:
    def prompt(self, source, pair): ...  # type: ignore[no-untyped-def]
    def target(self, target): ...  # type: ignore[no-untyped-def]


class _Metric:
    key = ""
    column = ""
    shown_times = 1
    keeps_segments = False

    def __init__(self, context): ...  # type: ignore[no-untyped-def]
    def score(self, hypotheses, references): ...  # type: ignore[no-untyped-def]
    def statistics(self, hypotheses, references): ...  # type: ignore[no-untyped-def]
    def corpus_score(self, totals): ...  # type: ignore[no-untyped-def]
    def ahead(self, systems, references): ...  # type: ignore[no-untyped-def]
    @staticmethod
    def check(settings): ...  # type: ignore[no-untyped-def]
    @staticmethod
    def identity(settings): ...  # type: ignore[no-untyped-def]


class _Tracker:
    def __init__(self, config, run_dir): ...  # type: ignore[no-untyped-def]
    def start(self): ...  # type: ignore[no-untyped-def]
    def log(self, step, values): ...  # type: ignore[no-untyped-def]
    def finish(self, record): ...  # type: ignore[no-untyped-def]
    def leaderboard(self, board): ...  # type: ignore[no-untyped-def]
    def messages(self): ...  # type: ignore[no-untyped-def]
    def give_up(self): ...  # type: ignore[no-untyped-def]


class _Engine:
    def __init__(self, config): ...  # type: ignore[no-untyped-def]
    def problems(self): ...  # type: ignore[no-untyped-def]
    def train(  # type: ignore[no-untyped-def]
        self,
        model,
        config,
        examples,
        *,
        pad_id,
        seed,
        folder,
        log,
        title,
        dev,
        autocast,
        resume,
        trackers,
    ): ...


def _criterion(logits, labels, config): ...  # type: ignore[no-untyped-def]
def _optimizer(parameters, config): ...  # type: ignore[no-untyped-def]
def _selector(before, after): ...  # type: ignore[no-untyped-def]
def _metric(context): ...  # type: ignore[no-untyped-def]


@dataclass(frozen=True)
class Contract:
    """What may be registered as one kind.

    Attributes:
        wanted: in words, for messages.
        shape: a class with the methods of a plugin's class; None where there is none.
        function: a function with the parameters of a plugin's function; None for classes only.
        optional: methods of ``shape`` that a plugin may lack.
        base: dotted name of the class that a plugin's class must extend (its methods are the
            contract then).
        schema: dotted name of the class that ``dataclass=`` must extend; None where a kind has
            no settings of its own.
    """

    wanted: str
    shape: type | None = None
    function: Callable[..., Any] | None = None
    optional: tuple[str, ...] = ()
    base: str | None = None
    schema: str | None = None


CONTRACTS: dict[str, Contract] = {
    "model": Contract(
        "a class, made without arguments, with load(config, device) and fingerprint(config)",
        _Model,
        optional=("tokenizer",),
        schema="mt_lottery.config.ModelConfig",
    ),
    "criterion": Contract(
        "a function of (logits, labels, config) that returns the summed loss",
        function=_criterion,
    ),
    "optimizer": Contract(
        "a function of (parameters, config) that returns a torch.optim.Optimizer",
        function=_optimizer,
    ),
    "tuner": Contract(
        "a class that extends mt_lottery.tuners.base.Tuner and has apply(context)",
        base="mt_lottery.tuners.base.Tuner",
        schema="mt_lottery.config.TunerConfig",
    ),
    "selector": Contract(
        "a function of (before, after) that returns one number a row", function=_selector
    ),
    "corpus": Contract(
        "a class, made from (path, config), with pool(role) and read(pool, pair)",
        _Corpus,
        optional=("report",),
        schema="mt_lottery.config.DataConfig",
    ),
    "template": Contract(
        "a class, made without arguments, with prompt(source, pair) and target(target)", _Template
    ),
    "metric": Contract(
        "a class, made from (context), with score(hypotheses, references), key and column, or a "
        "function of (context) that returns such an object",
        _Metric,
        _metric,
        optional=(
            *("key", "column", "shown_times", "keeps_segments", "statistics", "corpus_score"),
            *("ahead", "check", "identity"),
        ),
    ),
    "tracker": Contract(
        "a class that extends mt_lottery.tracking.trackers.Tracker, made from (config, run_dir)",
        _Tracker,
    ),
    "engine": Contract(
        "a class, made from (config), with problems() and train(model, config, examples, …)",
        _Engine,
    ),
}
