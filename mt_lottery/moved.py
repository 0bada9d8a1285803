"""Modules that plugins of version 0.1 import, under their names of then.

They go on working in this version, with a ``DeprecationWarning``; plugins import from
:mod:`mt_lottery.plugin`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

#: Old module → new one.
MOVED = {
    f"mt_lottery.{old}": f"mt_lottery.{new}"
    for old, new in {
        "tuner": "tuners",
        "tuner.base": "tuners.base",
        "tuner.peft_adapter": "tuners.adapters.base",
        "tuner.lora": "tuners.adapters.lora",
        "tuner.prefix": "tuners.adapters.prefix",
        "tuner.quantise": "tuners.adapters.quantise",
        "tuner.adapters": "tuners.rows.adapter_file",
        "tuner.token_rows": "tuners.rows.module",
        "tuner.embed": "tuners.rows.embed",
        "tuner.random": "tuners.rows.random",
        "tuner.frequency": "tuners.rows.frequency",
        "tuner.ks_lottery": "tuners.rows.ks_lottery",
        "tuner.full": "tuners.full",
        "lottery": "ticket",
        "lottery.ks": "ticket.ks",
        "lottery.certify": "ticket.certify",
        "lottery.parameters": "ticket.rows",
        "lottery.ranks": "ticket.rows",
        "lottery.selection": "ticket.selection",
        "lottery.selectors": "ticket.selectors",
        "data.batches": "data.prompts.batches",
        "data.templates": "data.prompts.templates",
        "score": "scoring",
        "score.metric": "scoring.metric",
        "train": "training",
        "train.criteria": "training.criteria",
        "train.cross_entropy": "training.cross_entropy",
        "train.journal": "training.train_log",
        "train.objective": "training.objective",
        "train.optimizers": "training.optimizers",
        "train.trackers": "tracking.trackers",
        "record": "runs.folder.record",
        "pipeline": "runs",
        "pipeline.tuned": "runs.handed_out",
    }.items()
}


def _new_name(name: str) -> str | None:
    """Where a module is now; None for a name that never moved."""
    room, _, module = name.rpartition(".")
    # without this, a module of an aliased room would be loaded a second time, under its old name
    return MOVED.get(name) or (f"{MOVED[room]}.{module}" if room in MOVED else None)


class _Alias(MetaPathFinder, Loader):
    """Gives the new module under the old name: one module, two names."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if _new_name(name) is None else spec_from_loader(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = _new_name(spec.name)
        assert new is not None
        warnings.warn(
            f"{spec.name} is {new} now, and its old name goes with the next version: plugins "
            "import from mt_lottery.plugin.",
            DeprecationWarning,
            stacklevel=2,
        )
        module = importlib.import_module(new)
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # the import system has put the alias's spec on it
        assert module.__spec__ is not None
        module.__spec__ = self._specs.pop(module.__spec__.name)


class _Package(ModuleType):
    """The package: a module under an old name does not take the place of a public function.

    Python makes a module that is imported an attribute of its package: ``mt_lottery.score`` of
    version 0.1 would hide :func:`mt_lottery.score`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in self.__all__:
            return
        super().__setattr__(name, value)


def install(package: ModuleType) -> None:
    """Let the old names be imported; once."""
    package.__class__ = _Package
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())
