"""What the chosen plugins need, asked for before any work is done."""

from __future__ import annotations

from typing import Any

from mt_lottery.config import RunConfig
from mt_lottery.data.joint import directions_of
from mt_lottery.errors import ConfigError
from mt_lottery.model.loading import tokenizer_of
from mt_lottery.registry import METRICS, TRACKERS, Registry
from mt_lottery.scoring.metric import MetricContext
from mt_lottery.scoring.trial import SOURCES, LaterTokenizer, try_metric
from mt_lottery.tracking.trackers import names_of


def check_packages(*wanted: tuple[str, Registry, str]) -> None:
    """Make sure that what the chosen plugins need is installed.

    Args:
        wanted: key, registry and name of each.

    Raises:
        ConfigError: what is missing, with pip's command, all of it at once.
    """
    found = [(key, kind.missing(name)) for key, kind, name in wanted]
    problems = [f"`{key}`: {missing}" for key, missing in found if missing is not None]
    if problems:
        raise ConfigError(problems)


def trackers_and_metrics(config: RunConfig) -> list[tuple[str, Registry, str]]:
    """For :func:`check_packages`: what every cell of a benchmark has in common."""
    return [
        *(("metrics", METRICS, name) for name in config.metrics),
        *(("tracker", TRACKERS, name) for name in names_of(config.tracker)),
    ]


def check_metrics(config: RunConfig) -> None:
    """Try every metric on two sentences in the target language, before any work is done.

    Where spBLEU's model is not available, the warning comes here too.

    Args:
        config: of the run; languages, metrics and model are read.

    Raises:
        ScoreError: what a metric needs is missing; with how to get it.
        PluginError: a metric gives back something else than it must.
    """

    def tokenizer() -> Any:
        found = tokenizer_of(config.model)
        return None if found is None else found[0]

    keys: dict[tuple[str, str], str] = {}
    targets = dict.fromkeys(pair.target.code for pair in directions_of(config)[1])
    for target, name in ((target, name) for target in targets for name in config.metrics):
        context = MetricContext(
            LaterTokenizer(tokenizer),
            config.model.name,
            target,
            bootstrap=10,
            sources=SOURCES,
            settings=config.metric,
        )
        key = try_metric(name, context)
        first = keys.setdefault((target, key or name), name)
        if first != name and any(map(METRICS.is_plugin, (first, name))):
            theirs = name if METRICS.is_plugin(name) else first
            raise METRICS.fault(
                theirs,
                f"its key is '{key}', and so is that of '{first if theirs == name else name}': a "
                "record would hold one of the two scores",
            )
