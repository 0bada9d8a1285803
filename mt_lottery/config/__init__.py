"""Settings: their schema and ranges, the recipes, and the command line put together."""

from __future__ import annotations

from mt_lottery.config.checking import describe as describe
from mt_lottery.config.checking import problems as problems
from mt_lottery.config.checking import shown as shown
from mt_lottery.config.settings import CometConfig as CometConfig
from mt_lottery.config.settings import DataConfig as DataConfig
from mt_lottery.config.settings import MetricsConfig as MetricsConfig
from mt_lottery.config.settings import ModelConfig as ModelConfig
from mt_lottery.config.settings import RunConfig as RunConfig
from mt_lottery.config.settings import TrackingConfig as TrackingConfig
from mt_lottery.config.settings import TrainConfig as TrainConfig
from mt_lottery.config.settings import TranslateConfig as TranslateConfig
from mt_lottery.config.settings import TunerConfig as TunerConfig
from mt_lottery.config.settings import counted as counted
from mt_lottery.config.settings import digest as digest
from mt_lottery.config.settings import file_settings as file_settings
from mt_lottery.config.settings import setting as setting
