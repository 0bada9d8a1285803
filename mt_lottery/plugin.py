"""The one place that a plugin imports from.

    from mt_lottery.plugin import Tuner, TunerConfig, register_tuner, setting

Base classes, settings, the protocol of each kind and the ``register_*`` decorators.  These names
stay where they are; the rooms behind them may change.  Names are imported when they are first
used: a plugin that registers a template costs no import of PyTorch.

What ``mt-ticket`` can do with a run follows from what its :class:`Tuner` says: ``show`` and
``certify`` need ``has_probe``, ``compare`` ``chooses_rows``, Table 6 and certificates of partial
tuning ``tunes_chosen`` (and ``copies_chosen``), ``explain`` a ``scope``, ``sweep`` a setting
``tickets``.  These follow from ``probe``, ``trains`` and ``chooses_rows``; a variant of a tuner
that extends its class (``KSLotteryTuner``) has all of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mt_lottery.registry import REGISTRIES

#: Module → the names of it that are public.
_ROOMS = {
    "config": "ModelConfig DataConfig TrainConfig TunerConfig setting",
    "tuners.base": "Tuner TuningContext Probe RowGradients",
    "tuners.rows.base": "RowTuner RowsConfig CountedRowsConfig ChosenRows",
    "tuners.rows.ks_lottery": "KSLotteryConfig KSLotteryTuner KSTransferTuner",
    "tuners.adapters.base": "PeftTuner check_targets query_and_value_layers",
    "model.loading": "Loader LoaderExtras LoadedModel ModelInfo",
    "data.corpora": "Corpus CorpusExtras FolderCorpus",
    "data.text": "Pair",
    "data.prompts.templates": "Template",
    "scoring.metric": "Metric MetricContext MetricExtras Scored",
    "ticket.level": "Level RowScores",
    "ticket.selection": "Selector",
    "ticket.ticket": "Ticket",
    "tracking.trackers": "Tracker TrackerError",
    "training.criteria": "Criterion",
    "training.optimizers": "MakeOptimizer",
    "training.engine": "Engine TrainResult",
    "languages": "LanguagePair",
    "registry": " ".join(f"register_{kind}" for kind in REGISTRIES),
    # mistakes of a user, printed as one message
    "errors": (
        "ConfigError DataError ModelError MTLotteryError ScoreError TrainingError TuningError"
    ),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_WHERE)

if TYPE_CHECKING:
    from mt_lottery.config import DataConfig as DataConfig
    from mt_lottery.config import ModelConfig as ModelConfig
    from mt_lottery.config import TrainConfig as TrainConfig
    from mt_lottery.config import TunerConfig as TunerConfig
    from mt_lottery.config import setting as setting
    from mt_lottery.data.corpora import Corpus as Corpus
    from mt_lottery.data.corpora import CorpusExtras as CorpusExtras
    from mt_lottery.data.corpora import FolderCorpus as FolderCorpus
    from mt_lottery.data.prompts.templates import Template as Template
    from mt_lottery.data.text import Pair as Pair
    from mt_lottery.errors import ConfigError as ConfigError
    from mt_lottery.errors import DataError as DataError
    from mt_lottery.errors import ModelError as ModelError
    from mt_lottery.errors import MTLotteryError as MTLotteryError
    from mt_lottery.errors import ScoreError as ScoreError
    from mt_lottery.errors import TrainingError as TrainingError
    from mt_lottery.errors import TuningError as TuningError
    from mt_lottery.languages import LanguagePair as LanguagePair
    from mt_lottery.model.loading import LoadedModel as LoadedModel
    from mt_lottery.model.loading import Loader as Loader
    from mt_lottery.model.loading import LoaderExtras as LoaderExtras
    from mt_lottery.model.loading import ModelInfo as ModelInfo
    from mt_lottery.registry import register_corpus as register_corpus
    from mt_lottery.registry import register_criterion as register_criterion
    from mt_lottery.registry import register_engine as register_engine
    from mt_lottery.registry import register_metric as register_metric
    from mt_lottery.registry import register_model as register_model
    from mt_lottery.registry import register_optimizer as register_optimizer
    from mt_lottery.registry import register_selector as register_selector
    from mt_lottery.registry import register_template as register_template
    from mt_lottery.registry import register_tracker as register_tracker
    from mt_lottery.registry import register_tuner as register_tuner
    from mt_lottery.scoring.metric import Metric as Metric
    from mt_lottery.scoring.metric import MetricContext as MetricContext
    from mt_lottery.scoring.metric import MetricExtras as MetricExtras
    from mt_lottery.scoring.metric import Scored as Scored
    from mt_lottery.ticket.level import Level as Level
    from mt_lottery.ticket.level import RowScores as RowScores
    from mt_lottery.ticket.selection import Selector as Selector
    from mt_lottery.ticket.ticket import Ticket as Ticket
    from mt_lottery.tracking.trackers import Tracker as Tracker
    from mt_lottery.tracking.trackers import TrackerError as TrackerError
    from mt_lottery.training.criteria import Criterion as Criterion
    from mt_lottery.training.engine import Engine as Engine
    from mt_lottery.training.engine import TrainResult as TrainResult
    from mt_lottery.training.optimizers import MakeOptimizer as MakeOptimizer
    from mt_lottery.tuners.adapters.base import PeftTuner as PeftTuner
    from mt_lottery.tuners.adapters.base import check_targets as check_targets
    from mt_lottery.tuners.adapters.base import query_and_value_layers as query_and_value_layers
    from mt_lottery.tuners.base import Probe as Probe
    from mt_lottery.tuners.base import RowGradients as RowGradients
    from mt_lottery.tuners.base import Tuner as Tuner
    from mt_lottery.tuners.base import TuningContext as TuningContext
    from mt_lottery.tuners.rows.base import ChosenRows as ChosenRows
    from mt_lottery.tuners.rows.base import CountedRowsConfig as CountedRowsConfig
    from mt_lottery.tuners.rows.base import RowsConfig as RowsConfig
    from mt_lottery.tuners.rows.base import RowTuner as RowTuner
    from mt_lottery.tuners.rows.ks_lottery import KSLotteryConfig as KSLotteryConfig
    from mt_lottery.tuners.rows.ks_lottery import KSLotteryTuner as KSLotteryTuner
    from mt_lottery.tuners.rows.ks_lottery import KSTransferTuner as KSTransferTuner


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'mt_lottery.plugin' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mt_lottery.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
