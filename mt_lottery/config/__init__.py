"""Settings: their schema and ranges, the recipes, and the command line put together."""

from __future__ import annotations

from mt_lottery.config.checking import allowed, describe, problems, shown
from mt_lottery.config.settings import (
    CometConfig,
    DataConfig,
    MetricsConfig,
    ModelConfig,
    RunConfig,
    TrackingConfig,
    TrainConfig,
    TranslateConfig,
    TunerConfig,
    counted,
    digest,
    file_settings,
    setting,
)

__all__ = [
    "CometConfig",
    "DataConfig",
    "MetricsConfig",
    "ModelConfig",
    "RunConfig",
    "TrackingConfig",
    "TrainConfig",
    "TranslateConfig",
    "TunerConfig",
    "allowed",
    "counted",
    "describe",
    "digest",
    "file_settings",
    "problems",
    "setting",
    "shown",
]
