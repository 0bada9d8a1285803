"""The YAML of a recipe, a model and a corpus, put together by Hydra's compose API."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mt_lottery import registry
from mt_lottery.config.overrides import for_a_path, quoted
from mt_lottery.config.recipe_files import (
    GROUPS,
    REGISTRY_OF,
    loose_recipes,
    recipes_folder,
    refuse_taken_names,
    search_path,
)
from mt_lottery.config.written import resolver_calls
from mt_lottery.errors import ConfigError, shorten, unknown
from mt_lottery.reading import read_yaml


@contextlib.contextmanager
def _own_hydra() -> Iterator[None]:
    """Hydra keeps one global state; a caller who uses Hydra gets theirs back."""
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = theirs


#: Hydra's state is the process's: threads compose one after another.
_composing = threading.RLock()
#: What the built-in YAML gave before, by what was chosen and how its files looked.
_composed: dict[tuple[Any, ...], dict[str, Any]] = {}


def _load_groups(chosen: dict[str, str | None], found: list[str]) -> dict[str, Any]:
    """The merged YAML of the chosen recipe, model and data, as a plain dictionary.

    A name that is not known is put on the list, and None in its place.  Hydra takes a tenth of a
    second, and a benchmark's plan has thousands of cells: where no plugin brings files of its
    own, what the same files gave is not composed again.
    """
    if search_path():
        return _compose_groups(chosen, found)
    files = [(file, file.stat()) for file in sorted(recipes_folder().rglob("*.yaml"))]
    looks = tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in files)
    names = tuple(tuple(registry.names()) for registry in REGISTRY_OF.values())
    key = (tuple(chosen.items()), names, looks)
    if key not in _composed:
        mistakes = len(found)
        content = _compose_groups(chosen, found)
        if len(found) > mistakes:
            return content
        _composed[key] = content
    return copy.deepcopy(_composed[key])


def _compose_groups(chosen: dict[str, str | None], found: list[str]) -> dict[str, Any]:
    with _composing:
        return _composed_anew(chosen, found)


def _composed_anew(chosen: dict[str, str | None], found: list[str]) -> dict[str, Any]:
    store = ConfigStore.instance()
    for stem, file in loose_recipes().items():
        try:
            node = OmegaConf.create(_with_list(read_yaml(file, ConfigError, object), file))
            store.store(group="recipe", name=stem, node=node, provider=str(file))
        except Exception as error:
            if stem == chosen["recipe"]:  # any other YAML may lie there, and is none of ours
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"{file}: not a readable YAML file: {error}") from error
    for folder, group in itertools.product(search_path(), GROUPS):
        if os.path.lexists(file := folder / group / f"{chosen[group]}.yaml"):
            # Hydra reads it too, and would wait for a pipe
            _with_list(read_yaml(file, ConfigError, object), file)
    refuse_taken_names()
    paths = ",".join(quoted(f"file://{p}") for p in search_path())
    with _own_hydra(), initialize_config_dir(config_dir=str(recipes_folder()), version_base="1.3"):
        search = [f"hydra.searchpath=[{paths}]"] if paths else []
        overrides = list(search)
        loader = GlobalHydra.instance().config_loader()
        for group in GROUPS:
            name = chosen[group]
            known = set(loader.get_group_options(group, overrides=search))
            if name is not None and name in known:
                overrides.append(f"{group}={quoted(name)}")
                continue
            overrides.append(f"~{group}")  # a plugin without a YAML: its defaults
            if name is not None and name not in REGISTRY_OF[group].names():
                names = known | set(REGISTRY_OF[group].names())
                found.append(unknown(group, name, names) + for_a_path(group, name))
                chosen[group] = None
        try:
            node = hydra_compose("config", overrides=overrides)
            content = OmegaConf.to_container(node, resolve=True)
            content = _with_calls(content, OmegaConf.to_container(node))
        # a `defaults` that is no list is a ValueError or TypeError of Hydra's
        except (HydraException, OmegaConfBaseException, TypeError, ValueError) as error:
            where = ", ".join(f"{group}={name}" for group, name in chosen.items() if name)
            reason = str(error).partition("\n")[0].rstrip(".")
            raise ConfigError(f"The YAML of {where} cannot be composed: {reason}.") from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _with_list(content: Any, file: Path) -> Any:
    """The content of a recipe's file, whose ``defaults`` Hydra wants to be a list.

    Raises:
        ConfigError: it is none.
    """
    given = content.get("defaults", []) if isinstance(content, dict) else []
    if not isinstance(given, list):
        raise ConfigError(
            f"{file}: `defaults` is {shorten(given)}; allowed: a list of the recipes that this one "
            f"goes on from, as in `defaults: [{given if isinstance(given, str) else 'lora'}]`."
        )
    return content


def _with_calls(resolved: Any, raw: Any) -> Any:
    """Resolved settings, but ``${oc.env:…}`` as written: that is resolved with all the others."""
    if isinstance(raw, dict) and isinstance(resolved, dict):
        return {key: _with_calls(value, raw[key]) for key, value in resolved.items()}
    return raw if any(resolver_calls(raw)) else resolved


def _merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _mapping(content: Any, what: str) -> dict[str, Any]:
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{what}: its YAML must hold keys and values, not {content!r}.")
    return content or {}


def settings_of(chosen: dict[str, str | None], preset: Any, found: list[str]) -> dict[str, Any]:
    """What the chosen recipe, model and corpus say, as one nested dictionary.

    Args:
        chosen: ``recipe``, ``model`` and ``data`` → name; None where it is not known.
        preset: of the recipe; None for none.
        found: mistakes are added to it.

    Raises:
        ConfigError: a YAML file cannot be used.
    """
    groups = _load_groups(chosen, found)
    recipe = _mapping(groups.pop("recipe", None), f"recipe={chosen['recipe']}")
    content = _merge({k: v for k, v in groups.items() if v is not None}, recipe)
    presets = _mapping(content.pop("presets", None), f"`presets` of recipe={chosen['recipe']}")
    if preset is not None and chosen["recipe"] is not None:
        if isinstance(preset, str) and preset in presets:
            content = _merge(content, _mapping(presets[preset], f"preset={preset}"))
        elif presets:
            found.append(unknown(f"preset of recipe={chosen['recipe']}", preset, presets))
        else:
            found.append(f"`preset` is '{preset}', but recipe={chosen['recipe']} has no presets.")
    for group, section in (("recipe", "tuner"), ("model", "model"), ("data", "data")):
        entry = content.setdefault(section, {})
        name = chosen[group]
        if isinstance(entry, dict) and name is not None and "name" not in entry:
            if group == "recipe" and name not in registry.TUNERS.names():
                found.append(
                    f"recipe={name} does not say which tuner it uses: write tuner: {{name: …}} "
                    f"into its YAML, with one of {', '.join(registry.TUNERS.names())}."
                )
                name = "none"
            entry["name"] = name
    return content
