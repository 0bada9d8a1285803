"""From recipes and the command line to one checked :class:`RunConfig`.

The YAML groups (:mod:`~mt_lottery.config.groups`), a stored configuration or settings are put
into the typed sections (:mod:`~mt_lottery.config.filling`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mt_lottery import registry
from mt_lottery.config import RunConfig
from mt_lottery.config.filling import all_keys, build
from mt_lottery.config.groups import settings_of
from mt_lottery.config.overrides import parse_overrides
from mt_lottery.config.recipe_files import GROUPS, names_in, recipe_files
from mt_lottery.config.stored import read_stored
from mt_lottery.config.written import as_written
from mt_lottery.errors import ConfigError
from mt_lottery.system.secrets import without_secrets

TRUST = "trust_remote_code"


def compose_saved(path: Path) -> RunConfig:
    """The configuration of a finished run's ``config.yaml``.

    Raises:
        ConfigError: as :func:`compose`; or it asks for what this call does not allow
            (:func:`mt_lottery.config.stored.read_stored`).
        PluginError: an installed plugin cannot be imported.
    """
    saved = read_stored(path)
    # of a file that was cut short, defaults would take the place of what is missing
    missing = [key for key in ("lang", *GROUPS[1:], "translate", "metrics") if key not in saved]
    found = [f"{path}: damaged: a run's configuration has {', '.join(missing)}."] if missing else []
    try:
        return build(saved, {}, found, str(path))
    except ConfigError as error:
        named = [p if str(path) in p else f"{path}: {p}" for p in error.problems]
        raise ConfigError(named) from error


def compose(overrides: Sequence[str]) -> RunConfig:
    """The checked configuration for a command line.

    Args:
        overrides: ``key=value`` each; ``recipe``, ``model`` and ``data`` choose
            a YAML of their group, ``config=FILE`` starts from a saved
            ``config.yaml`` instead, ``user_dir=PATH`` imports plugins first (the
            saved file's own ``user_dir`` is not imported unless given here).

    Raises:
        ConfigError: with every mistake that was found.
        PluginError: a plugin cannot be imported.
    """
    found: list[str] = []
    keys = [*all_keys(), *GROUPS, "config", TRUST]
    pairs = parse_overrides(overrides, keys, lambda: names_in("recipe"), found)
    return _compose(pairs, found)


def compose_settings(settings: Mapping[str, Any]) -> RunConfig:
    """As :func:`compose`, for keys with values that are no text any more.

    Args:
        settings: dotted key → value; ``recipe``, ``model`` and ``data`` choose a YAML.
    """
    return _compose(list(settings.items()), [])


def _compose(pairs: Sequence[tuple[str, Any]], found: list[str]) -> RunConfig:
    values = dict(pairs)
    if TRUST in values:  # as load_tuned and the other commands call it
        values[f"model.{TRUST}"] = values.pop(TRUST)
    if values.get("user_dir") is not None:
        registry.load_user_dir(str(values["user_dir"]))
    config = values.pop("config", None)
    saved = read_stored(str(config), values) if config else {}
    registry.load_entry_points()

    chosen: dict[str, str | None] = {"recipe": None, "model": "gemma3_270m", "data": "mini"}
    for group in GROUPS:
        if group in values:
            chosen[group] = str(values.pop(group))
    if chosen["recipe"] is None and not saved:
        names = ", ".join(sorted({*names_in("recipe"), *recipe_files()}))
        found.append(f"`recipe` is missing: give one, for example recipe=ks_lottery ({names}).")
    if saved:
        from_groups = sorted({*GROUPS, "preset"} & {key for key, _ in pairs})
        if from_groups:
            found.append(
                f"config=FILE fixes {', '.join(from_groups)}; leave out the one or the other."
            )
        content = saved
    else:
        preset = values.pop("preset", None)
        content = settings_of(chosen, preset, found)
        content |= {"recipe": chosen["recipe"] or "none", "preset": preset}
        if chosen["recipe"] is None:  # which settings its tuner has is not known either
            values = {k: v for k, v in values.items() if not k.startswith("tuner")}
    source = str(config) if saved else "the recipe"
    return build(content, values, found, source)


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML; ``compose(["config=FILE"])`` reads it back.

    All is resolved but what was read from the environment, which stays as it was written.
    """
    content = as_written(dataclasses.asdict(config))
    return OmegaConf.to_yaml(OmegaConf.create(without_secrets(content, weak=False)))
