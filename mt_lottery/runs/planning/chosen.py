"""The settings that a search's trials chose, put into a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mt_lottery.config import RunConfig, problems
from mt_lottery.errors import ConfigError, RecordError, shorten
from mt_lottery.runs.folder.record import Record


def with_settings(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """A configuration with some keys (``train.lr``, ``tuner.r``) set to other values.

    Raises:
        ConfigError: a key that is not there, or a value out of its range.
    """
    changed = config
    for key, value in settings.items():
        section, _, name = key.partition(".")
        name, _, option = name.partition(".")  # tuner.options.r: of a free-form section
        part = getattr(changed, section, None)
        old = getattr(part, name, None)
        if not dataclasses.is_dataclass(part) or not hasattr(part, name):
            raise ConfigError(f"The search space of recipe={config.recipe} has no key '{key}'.")
        assert not isinstance(part, type)
        if isinstance(old, int | float) and not isinstance(value, int | float):
            raise ConfigError(f"`{key}` must be a number, not {shorten(value)}.")
        if option and isinstance(old, dict):
            value = {**old, option: value}
        elif option:
            raise ConfigError(f"The search space of recipe={config.recipe} has no key '{key}'.")
        new: dict[str, Any] = {section: dataclasses.replace(part, **{name: value})}
        changed = dataclasses.replace(changed, **new)
    own: Any = getattr(changed.tuner, "problems", list)
    if found := [*problems(changed), *own()]:
        raise ConfigError(found)
    return changed


def as_chosen(config: RunConfig, record: Record) -> RunConfig:
    """A run's configuration with the settings that its trials on dev chose, if it had any.

    Raises:
        RecordError: the record names others than a search can try: a record is data, and must
            not lead to another model, or to code.
    """
    if record.tuning is None:
        return config
    chosen = record.tuning.get("chosen")
    if not isinstance(chosen, dict):
        raise RecordError(f"record.json: tuning.chosen is {chosen!r}, no settings.")
    changed = with_settings(config, chosen)
    for section in ("model", "metric"):
        if getattr(changed, section) != getattr(config, section):
            raise RecordError(f"record.json: tuning.chosen sets {section}, which no search tries.")
    return changed
