"""From recipes and the command line to one checked :class:`RunConfig`.

Hydra's compose API puts the YAML groups together (``recipe``, ``model``,
``data``, a plugin's among them); each value is then set on the structured
config on its own, so that every mistake is found, not just the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
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
from mt_lottery.config import RunConfig, problems
from mt_lottery.config.overrides import Number, elsewhere, for_a_path, parse_overrides
from mt_lottery.config.recipe_files import (
    GROUPS,
    loose_recipes,
    recipe_names,
    recipes_folder,
    refuse_taken_names,
    search_path,
)
from mt_lottery.config.stored import flat, read_stored
from mt_lottery.config.written import as_written, remember, resolver_calls
from mt_lottery.errors import (
    ConfigError,
    LackingError,
    MTLotteryError,
    PluginError,
    nearest,
    unknown,
)
from mt_lottery.languages import parse_pair
from mt_lottery.reading import read_yaml
from mt_lottery.system.secrets import without_secrets
from mt_lottery.system.values import LARGEST, device_name, number, path_problem, text_problem, whole

TRUST = "trust_remote_code"
REGISTRY_OF = {"recipe": registry.TUNERS, "model": registry.MODELS, "data": registry.CORPORA}

#: How the names of settings end that are paths: data.path, out_dir, data.train_source, …
_PATHS = ("path", "dir", "source", "target", "command", "file")


def _all_keys() -> list[str]:
    return [key for key, _ in flat(dataclasses.asdict(RunConfig()))]


@contextlib.contextmanager
def _own_hydra() -> Iterator[None]:
    """Hydra keeps one global state; a caller who uses Hydra gets theirs back."""
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = theirs


def _load_groups(chosen: dict[str, str | None], found: list[str]) -> dict[str, Any]:
    """The merged YAML of the chosen recipe, model and data, as a plain dictionary.

    A name that is not known is put on the list, and None in its place.
    """
    store = ConfigStore.instance()
    for stem, file in loose_recipes().items():
        try:
            node = OmegaConf.create(read_yaml(file, ConfigError, object))
            store.store(group="recipe", name=stem, node=node, provider=str(file))
        except Exception as error:
            if stem == chosen["recipe"]:  # any other YAML may lie there, and is none of ours
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"{file}: not a readable YAML file: {error}") from error
    for folder, group in itertools.product(search_path(), GROUPS):
        if os.path.lexists(file := folder / group / f"{chosen[group]}.yaml"):
            read_yaml(file, ConfigError, object)  # Hydra reads it, and would wait for a pipe
    refuse_taken_names()
    escaped = [str(p).replace("\\", "\\\\").replace('"', '\\"') for p in search_path()]
    paths = ",".join(f'"file://{p}"' for p in escaped)
    with _own_hydra(), initialize_config_dir(config_dir=str(recipes_folder()), version_base="1.3"):
        search = [f"hydra.searchpath=[{paths}]"] if paths else []
        overrides = list(search)
        loader = GlobalHydra.instance().config_loader()
        for group in GROUPS:
            name = chosen[group]
            known = set(loader.get_group_options(group, overrides=search))
            if name in known:
                overrides.append(f'{group}="{name}"')
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


def _settings_of(chosen: dict[str, str | None], preset: Any, found: list[str]) -> dict[str, Any]:
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
                    f"recipe={name} does not say which method it is: write tuner: {{name: …}} into "
                    f"its YAML, with one of {', '.join(registry.TUNERS.names())}."
                )
                name = "none"
            entry["name"] = name
    return content


def _assign(config: Any, key: str, value: Any, found: list[str], origin: str) -> None:
    """Set one leaf of the structured config, or explain why it cannot be set."""
    parent, _, name = key.rpartition(".")
    node: Any = OmegaConf.select(config, parent) if parent else config
    if "[" in key:  # OmegaConf's second way to write a key; what is asked for is looked up by one
        node = None
    known = list(node.keys()) if OmegaConf.is_dict(node) else []
    if name not in known:
        full = [f"{parent}.{k}" if parent else str(k) for k in known]
        listed = f" Known there: {', '.join(full)}." if full else ""
        own = [k for k, _ in flat(OmegaConf.to_container(config))]
        keys = dict.fromkeys([*full, *own, *_all_keys(), *GROUPS])
        there = "" if any(k.rpartition(".")[2] == name for k in keys) else elsewhere(key)
        found.append(f"Unknown key '{key}'{origin}.{there or nearest(key, keys)}{listed}")
        return
    old = OmegaConf.select(node, name, throw_on_resolution_failure=False)  # is replaced now
    if OmegaConf.is_dict(old) and not isinstance(value, dict):
        hint = f" Known: {', '.join(f'{key}.{k}' for k in node[name])}."
        found.append(f"'{key}' is a section, not a value{origin}.{hint}")
        return
    one = node._metadata.object_type.__dataclass_fields__[name]
    annotation, meta = _type_name(one.type), one.metadata
    if isinstance(value, Number):
        value = value.written if annotation.startswith("str") else value.value
    items = value if isinstance(value, list) else [value]
    if any(isinstance(v, bool) for v in items) and "bool" not in annotation and annotation != "Any":
        quote = ' Quote it if text is meant (a language code: "no").' if "str" in annotation else ""
        found.append(
            f"`{key}` is {str(value).lower()}{origin}, a truth value; expected {annotation}.{quote}"
        )
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # both would be converted in silence: 12e4567 to the text "inf", 5 to true
        if annotation.startswith("str"):
            found.append(f"`{key}` is the number {value}{origin}; quote it if text is meant.")
            return
        if annotation.startswith("bool"):
            found.append(f"`{key}` must be true or false, not {value}{origin}.")
            return
    if value == "" and "None" in annotation:
        found.append(f"`{key}` is empty{origin}; for none write {key}=null.")
        return
    if annotation.startswith("list") and isinstance(value, str) and not any(resolver_calls(value)):
        value = [value]
    numeric = annotation.split(" | ")[0] in ("int", "float")
    if numeric and isinstance(value, str) and "${" not in value:
        # Python's own int() and float() take other scripts' digits and 1_000
        try:
            value = whole(value, -LARGEST) if annotation.startswith("int") else number(value)
        except ValueError:
            found.append(f"`{key}` must be {annotation}, not {value[:60]!r}{origin}.")
            return
    is_path = meta.get("file") or name.rpartition("_")[2] in _PATHS
    for text in value if isinstance(value, list) else [value]:
        problem = (path_problem if is_path else text_problem)(text) if isinstance(text, str) else ""
        if problem:
            found.append(f"`{key}` is {text[:60]!r}{origin}: {problem}.")
            return
    try:
        OmegaConf.update(config, key, value, merge=True)
    except (OmegaConfBaseException, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        found.append(f"`{key}` must be {annotation}, not {value!r}{origin}: {reason}.")


def _type_name(annotation: Any) -> str:
    """``int | None``, however a dataclass (with or without postponed annotations) gives it."""
    if isinstance(annotation, type) and "[" not in str(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _check_names(config: RunConfig, found: list[str]) -> None:
    def check(key: str, kind: registry.Registry, name: str) -> None:
        if name not in kind.names():
            found.append(f"`{key}`: {unknown(kind.kind, name, kind.names())}")

    check("train.optimizer", registry.OPTIMIZERS, config.train.optimizer)
    check("train.criterion", registry.CRITERIA, config.train.criterion)
    check("probe.optimizer", registry.OPTIMIZERS, config.probe.optimizer)
    check("probe.criterion", registry.CRITERIA, config.probe.criterion)
    check("engine", registry.ENGINES, config.engine)
    check("data.template", registry.TEMPLATES, config.data.template)
    for role in ("dev", "test"):
        if getattr(config.data, role) is not None:
            check(f"data.{role}", registry.CORPORA, getattr(config.data, role))
    if not config.metrics:
        found.append(f"`metrics` must name at least one of {', '.join(registry.METRICS.names())}.")
    for name in config.metrics:
        check("metrics", registry.METRICS, name)
    for name in config.tracker if isinstance(config.tracker, list) else [config.tracker]:
        check("tracker", registry.TRACKERS, str(name))
    try:
        device_name(config.device)
    except ValueError as error:
        found.append(f"`device` {error}")
    if not config.lang:
        found.append("`lang` is missing: give source and target, for example lang=en-ro.")
    else:
        try:
            config.lang = str(parse_pair(config.lang))  # en-ron and en-ro are one pair
        except MTLotteryError as error:
            found.append(f"`lang`: {error}")


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
        return _build(saved, {}, found, str(path))
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
    keys = [*_all_keys(), *GROUPS, "config", TRUST]
    pairs = parse_overrides(overrides, keys, recipe_names, found)
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
        names = ", ".join(registry.TUNERS.names())
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
        content = _settings_of(chosen, preset, found)
        content |= {"recipe": chosen["recipe"] or "none", "preset": preset}
        if chosen["recipe"] is None:  # which settings its tuner has is not known either
            values = {k: v for k, v in values.items() if not k.startswith("tuner")}
    source = str(config) if saved else "the recipe"
    return _build(content, values, found, source)


def _build(
    content: dict[str, Any], values: dict[str, Any], found: list[str], source: str = "the recipe"
) -> RunConfig:
    config = OmegaConf.structured(RunConfig)
    for section, kind in (
        ("tuner", registry.TUNERS),
        ("model", registry.MODELS),
        ("data", registry.CORPORA),
    ):
        given = content.get(section)
        name = given.get("name") if isinstance(given, dict) else None
        name = values.get(f"{section}.name", name)
        if name in kind.names():
            schema = kind.dataclass_of(str(name))
            if schema is not None:
                try:
                    config[section] = OmegaConf.structured(schema)
                # a type that is not imported is a NameError, of its own kind each
                except (OmegaConfBaseException, NameError, TypeError, AttributeError) as error:
                    raise PluginError(
                        f"The settings of the {kind.kind} '{name}' ({schema.__module__}."
                        f"{schema.__qualname__}) cannot be used: {str(error).splitlines()[0]}"
                    ) from error
        elif name is not None:
            place = for_a_path(section, str(name))
            found.append(f"`{section}.name`: {unknown(kind.kind, str(name), kind.names())}{place}")
    for key, value in flat(content):
        if not (value == {} and OmegaConf.is_dict(OmegaConf.select(config, key))):
            _assign(config, key, value, found, f" in {source}")
    for key, value in flat(values):
        if not (value == {} and OmegaConf.is_dict(OmegaConf.select(config, key))):
            _assign(config, key, value, found, "")
    try:
        if lacking := sorted(OmegaConf.missing_keys(config)):
            raise LackingError(lacking, list(dict.fromkeys(found)))
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:  # ${…} that leads nowhere
        where = str(error.full_key or "")
        found.append(f"{f'`{where}`: ' if where else ''}{str(error).splitlines()[0]}.")
        raise ConfigError(list(dict.fromkeys(found))) from error
    assert isinstance(result, RunConfig)
    found.extend(problems(result))
    for part in (result.tuner, result.model, result.data):
        own = getattr(part, "problems", None)
        if own is not None:
            said = own()
            found.extend([said] if isinstance(said, str) else said or ())
    _check_names(result, found)
    if found:
        raise ConfigError(list(dict.fromkeys(found)))
    texts = flat(OmegaConf.to_container(config))
    values = dict(flat(dataclasses.asdict(result)))
    for key, text in texts:
        if any(resolver_calls(text)):
            remember(key, values.get(key), text)
    return result


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML; ``compose(["config=FILE"])`` reads it back.

    All is resolved but what was read from the environment, which stays as it was written.
    """
    content = as_written(dataclasses.asdict(config))
    return OmegaConf.to_yaml(OmegaConf.create(without_secrets(content, weak=False)))
