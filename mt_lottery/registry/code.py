"""The code of the plugins that a run uses: its author may change what it does, and not its name."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from mt_lottery.registry import (
    CORPORA,
    CRITERIA,
    ENGINES,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SELECTORS,
    TEMPLATES,
    TRACKERS,
    TUNERS,
    Registry,
)  # fmt: skip

_SECTIONS = ("train", "probe")


def _learning(config: Any, sections: Iterable[str]) -> Iterator[tuple[Registry, Any]]:
    """What decides how a run learns, beside its text."""
    yield from ((TUNERS, config.tuner.name), (MODELS, config.model.name), (ENGINES, config.engine))
    yield SELECTORS, getattr(config.tuner, "selector", None)
    for section in (getattr(config, name) for name in sections):
        yield from ((CRITERIA, section.criterion), (OPTIMIZERS, section.optimizer))


def used_plugins(config: Any) -> list[tuple[Registry, str]]:
    """Every plugin that a run names, with its kind.

    Args:
        config: a ``RunConfig``.
    """
    data, trackers = config.data, config.tracker
    named = [*_learning(config, _SECTIONS), *((METRICS, name) for name in config.metrics)]
    named += [(CORPORA, name) for name in (data.name, data.dev, data.test)]
    named += [(TEMPLATES, name) for name in (data.template, *(data.train_templates or ()))]
    named += [(TRACKERS, each) for each in (trackers if isinstance(trackers, list) else [trackers])]
    found = [(kind, str(name)) for kind, name in named if kind.is_plugin(str(name))]
    return list(dict.fromkeys(found))


def code_of(config: Any) -> dict[str, str]:
    """``"criterion NAME"`` … → sha256 of the code, of what plugins registered.

    What a notebook registered, and cannot be hashed, is left out.

    Args:
        config: a ``RunConfig``.
    """
    found = {
        f"{kind.kind} '{name}'": kind.code(str(name))
        for kind, name in _learning(config, _SECTIONS)
        if kind.is_plugin(str(name))
    }
    return {key: value for key, value in found.items() if value is not None}


def cells_of(config: Any, sections: Container[str]) -> dict[str, str]:
    """``"criterion NAME"`` … → hash of the code, of what a notebook registered and a run uses.

    In a notebook a name is registered again and again: its runs are told apart by what it does.
    A corpus and a template count by the text that they give.

    Args:
        config: a ``RunConfig``.
        sections: names of those that count for the run.
    """
    used = _learning(config, [name for name in _SECTIONS if name in sections])
    return {
        f"{kind.kind} {name}": kind.code(str(name)) or kind.registration(str(name))
        for kind, name in (*used, *((METRICS, name) for name in config.metrics))
        if kind.is_of_cell(str(name))
    }
