"""From recipes and the command line to one checked :class:`RunConfig`.

Hydra's compose API puts the YAML groups together (``recipe``, ``model``,
``data``, a plugin's among them); each value is then set on the structured
config on its own, so that every mistake is found, not just the first.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mt_lottery import registry
from mt_lottery.config import RunConfig, TunerConfig, problems
from mt_lottery.errors import ConfigError, MTLotteryError, nearest, unknown
from mt_lottery.languages import parse_pair

GROUPS = ("recipe", "model", "data")
REGISTRY_OF = {"recipe": registry.TUNERS, "model": registry.MODELS, "data": registry.CORPORA}


def recipes_folder() -> Path:
    """The folder of built-in recipes: in the installed package, or in the checkout.

    Raises:
        ConfigError: neither is there (a broken installation).
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(f"No recipes at {package / 'recipes'}: the installation is incomplete.")


def _search_path() -> list[Path]:
    folders = []
    for folder in registry.plugin_folders():
        nested = folder / "recipes"
        folders.append(nested if nested.is_dir() else folder)
    return folders


def _loose_recipes() -> dict[str, Path]:
    """A plugin's ``NAME.yaml`` beside its Python file is a recipe, without a sub-folder."""
    return {file.stem: file for folder in _search_path() for file in sorted(folder.glob("*.yaml"))}


def parse_override(text: str, problems_found: list[str]) -> tuple[str, Any] | None:
    """``key=value`` in Hydra's grammar → (key, value); a mistake is added to the list."""
    home = re.fullmatch(r"([\w.]+)=~(/.*)?", text)
    if home:  # the shell leaves `key=~/x` alone, and `~` is no character of the grammar
        return home[1], str(Path.home()) + (home[2] or "")
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        key, equals, value = text.partition("=")
        if not equals:
            keys = [*_all_keys(), *GROUPS]
            problems_found.append(f"'{text}' is not of the form key=value.{nearest(text, keys)}")
        else:
            problems_found.append(
                f"The value of '{key}' cannot be read: {value}. A value with '=', blanks around "
                f"signs, quotes, '~' or braces needs quotes inside quotes: '{key}=\"{value}\"'."
            )
        return None
    if parsed.type is not OverrideType.CHANGE or parsed.package:
        problems_found.append(f"'{text}': write key=value; '+', '~' and '@' have no use here.")
        return None
    if parsed.is_sweep_override():
        problems_found.append(
            f"'{text}' gives several values for one key; a run takes one. For a list write "
            f"{parsed.key_or_group}=[…], for several runs use mt-bench."
        )
        return None
    value = parsed.value()
    return parsed.key_or_group, str(value) if isinstance(value, QuotedString) else value


def _all_keys() -> list[str]:
    return [key for key, _ in _leaves(dataclasses.asdict(RunConfig()))]


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _load_groups(chosen: dict[str, str], found: list[str]) -> dict[str, Any]:
    """The merged YAML of the chosen recipe, model and data, as a plain dictionary."""
    store = ConfigStore.instance()
    for name, file in _loose_recipes().items():
        try:
            store.store(group="recipe", name=name, node=OmegaConf.load(file), provider=str(file))
        except Exception as error:
            raise ConfigError(f"{file}: not a readable YAML file: {error}") from error
    paths = ",".join(f'"file://{p}"' for p in _search_path())
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(recipes_folder()), version_base="1.3"):
        search = [f"hydra.searchpath=[{paths}]"] if paths else []
        overrides = list(search)
        loader = GlobalHydra.instance().config_loader()
        for group, name in chosen.items():
            known = set(loader.get_group_options(group, overrides=search))
            if name in known:
                overrides.append(f"{group}={name}")
            elif name in REGISTRY_OF[group].names():
                overrides.append(f"~{group}")  # a plugin without a YAML: its defaults
            else:
                found.append(unknown(group, name, known | set(REGISTRY_OF[group].names())))
                overrides.append(f"~{group}")
        try:
            node = hydra_compose("config", overrides=overrides)
            content = OmegaConf.to_container(node, resolve=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"The recipes cannot be composed: {error}") from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _merge(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _settings_of(chosen: dict[str, str], preset: str | None, found: list[str]) -> dict[str, Any]:
    groups = _load_groups(chosen, found)
    recipe = groups.pop("recipe", None) or {}
    content = _merge({k: v for k, v in groups.items() if v is not None}, recipe)
    presets = content.pop("presets", None) or {}
    if preset is not None:
        if preset in presets:
            content = _merge(content, presets[preset] or {})
        else:
            found.append(unknown(f"preset of recipe={chosen['recipe']}", preset, presets))
    for group, section in (("recipe", "tuner"), ("model", "model"), ("data", "data")):
        entry = content.setdefault(section, {})
        if isinstance(entry, dict):
            entry.setdefault("name", chosen[group])
    return content


def _assign(config: Any, key: str, value: Any, found: list[str], origin: str) -> None:
    """Set one leaf of the structured config, or explain why it cannot be set."""
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    known = list(node.keys()) if OmegaConf.is_dict(node) else []
    if name not in known:
        full = [f"{parent}.{k}" if parent else str(k) for k in known]
        listed = f" Known there: {', '.join(full)}." if full else ""
        found.append(f"Unknown key '{key}'{origin}.{nearest(key, [*full, *_all_keys()])}{listed}")
        return
    if OmegaConf.is_dict(node[name]) and not isinstance(value, dict):
        hint = f" Known: {', '.join(f'{key}.{k}' for k in node[name])}."
        found.append(f"'{key}' is a section, not a value{origin}.{hint}")
        return
    annotation = str(node._metadata.object_type.__dataclass_fields__[name].type)
    items = value if isinstance(value, list) else [value]
    if any(isinstance(v, bool) for v in items) and "bool" not in annotation and annotation != "Any":
        found.append(
            f"`{key}` is {str(value).lower()}{origin}, which YAML reads as a truth value; expected "
            f'{annotation}. Quote it if text is meant (a language code: "no").'
        )
        return
    if annotation.startswith("list") and isinstance(value, str):
        value = [value]
    try:
        OmegaConf.update(config, key, value, merge=True)
    except (OmegaConfBaseException, ValueError) as error:
        reason = str(error).splitlines()[0]
        found.append(f"`{key}` must be {annotation}, not {value!r}{origin}: {reason}.")


def _check_names(config: RunConfig, found: list[str]) -> None:
    def check(key: str, kind: registry.Registry, name: str) -> None:
        if name not in kind.names():
            found.append(f"`{key}`: {unknown(kind.kind, name, kind.names())}")

    check("train.optimizer", registry.OPTIMIZERS, config.train.optimizer)
    check("train.criterion", registry.CRITERIA, config.train.criterion)
    check("probe.optimizer", registry.OPTIMIZERS, config.probe.optimizer)
    check("probe.criterion", registry.CRITERIA, config.probe.criterion)
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
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", config.device):
        found.append(f"`device` must be auto, cpu, cuda, cuda:N or mps, not '{config.device}'.")
    if not config.lang:
        found.append("`lang` is missing: give source and target, for example lang=en-ro.")
    else:
        try:
            parse_pair(config.lang)
        except MTLotteryError as error:
            found.append(f"`lang`: {error}")


def _read_saved(path: str) -> dict[str, Any]:
    file = Path(path).expanduser()
    file = file / "config.yaml" if file.is_dir() else file
    if not file.is_file():
        raise ConfigError(f"config={path}: no such file (a run directory's config.yaml is meant).")
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except Exception as error:
        raise ConfigError(f"{file}: not a readable YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: not a run's configuration.")
    return {str(key): value for key, value in content.items()}


def compose_saved(path: Path) -> RunConfig:
    """The configuration of a ``config.yaml``, its plugins imported.

    Raises:
        ConfigError, PluginError: as :func:`compose`.
    """
    saved = _read_saved(str(path))
    if saved.get("user_dir") is not None:
        registry.load_user_dir(str(saved["user_dir"]))
    return _build(saved, {}, [])


def compose(overrides: Sequence[str]) -> RunConfig:
    """The checked configuration for a command line.

    Args:
        overrides: ``key=value`` each; ``recipe``, ``model`` and ``data`` choose
            a YAML of their group, ``config=FILE`` starts from a saved
            ``config.yaml`` instead, ``user_dir=PATH`` imports plugins first.

    Raises:
        ConfigError: with every mistake that was found.
        PluginError: a plugin cannot be imported.
    """
    found: list[str] = []
    pairs = [p for p in (parse_override(text, found) for text in overrides) if p]
    values = dict(pairs)
    saved = _read_saved(str(values.pop("config"))) if values.get("config") else {}
    user_dir = values.get("user_dir", saved.get("user_dir"))
    if user_dir is not None:
        registry.load_user_dir(str(user_dir))
    registry.load_entry_points()

    chosen = {"recipe": "none", "model": "gemma3_270m", "data": "mini"}
    for group in GROUPS:
        if group in values:
            chosen[group] = str(values.pop(group))
    if "recipe" not in dict(pairs) and not saved:
        names = ", ".join(registry.TUNERS.names())
        found.append(f"`recipe` is missing: give one, for example recipe=ks_lottery ({names}).")
    if saved:
        from_groups = sorted(set(GROUPS) & {key for key, _ in pairs})
        if from_groups:
            found.append(
                f"config=FILE fixes {', '.join(from_groups)}; leave out the one or the other."
            )
        content = saved
    else:
        content = _settings_of(chosen, values.pop("preset", None), found)
        content["recipe"] = chosen["recipe"]
        content["preset"] = dict(pairs).get("preset")
    return _build(content, values, found)


def _build(content: dict[str, Any], values: dict[str, Any], found: list[str]) -> RunConfig:
    config = OmegaConf.structured(RunConfig)
    for section, kind in (
        ("tuner", registry.TUNERS),
        ("model", registry.MODELS),
        ("data", registry.CORPORA),
    ):
        name = values.get(f"{section}.name", (content.get(section) or {}).get("name"))
        if name in kind.names():
            schema = kind.dataclass_of(str(name)) or (TunerConfig if section == "tuner" else None)
            if schema is not None:
                config[section] = OmegaConf.structured(schema)
    for key, value in _leaves(content):
        if not (value == {} and OmegaConf.is_dict(OmegaConf.select(config, key))):
            _assign(config, key, value, found, " in the recipe")
    for key, value in values.items():
        _assign(config, key, value, found, "")
    result = OmegaConf.to_object(config)
    assert isinstance(result, RunConfig)
    found.extend(problems(result))
    for part in (result.tuner, result.model, result.data):
        own = getattr(part, "problems", None)
        if own is not None:
            found.extend(own())
    _check_names(result, found)
    if found:
        raise ConfigError(list(dict.fromkeys(found)))
    return result


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration as YAML; ``compose(["config=FILE"])`` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))
