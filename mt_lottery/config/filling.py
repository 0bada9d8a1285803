"""Values put into the typed settings one by one, so that every mistake is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mt_lottery import registry
from mt_lottery.config import DataConfig, RunConfig, problems
from mt_lottery.config.overrides import DIRECTIONS, Number, elsewhere, for_a_path
from mt_lottery.config.prompt import is_prompt, prompt_problems
from mt_lottery.config.recipe_files import GROUPS
from mt_lottery.config.sections import with_settings_of
from mt_lottery.config.settings import PATHS
from mt_lottery.config.stored import flat
from mt_lottery.config.written import remember, resolver_calls
from mt_lottery.errors import (
    ConfigError,
    LackingError,
    MTLotteryError,
    PluginError,
    assigned,
    nearest,
    unknown,
)
from mt_lottery.languages import parse_pairs
from mt_lottery.system.values import LARGEST, device_name, number, path_problem, text_problem, whole


def all_keys() -> list[str]:
    """Every key of a run whose tuner, model and corpus add none."""
    return [key for key, _ in flat(dataclasses.asdict(RunConfig()))]


def _is_free(node: Any) -> bool:
    """Whether a part of the structured config is a dictionary whose keys no schema names."""
    return OmegaConf.is_dict(node) and not dataclasses.is_dataclass(node._metadata.object_type)


def _free_section(config: Any, key: str) -> int | None:
    """How many parts of a dotted key lead to the free-form section that it is in, or is."""
    node = config
    parts = key.split(".")
    for place, name in enumerate(parts, 1):
        node = node._get_node(name, validate_access=False) if OmegaConf.is_dict(node) else None
        if _is_free(node):
            return place
    return None


def _leaves(config: Any, settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """As :func:`flat`, but what is in a free-form section stays whole: its keys may have dots."""
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and _free_section(config, key) is None:
            yield from _leaves(config, value, f"{key}.")
        elif not (value == {} and OmegaConf.is_dict(OmegaConf.select(config, key))):
            yield key, value


def _assign_free(
    config: Any, section: str, rest: list[Any], value: Any, found: list[str], origin: str
) -> None:
    """Set what is in a free-form section; whoever has that section checks it."""
    key = ".".join([section, *map(str, rest)])
    value = value.value if isinstance(value, Number) else value
    problem = text_problem(value) if isinstance(value, str) else ""
    if problem:
        found.append(f"`{key}` is {value[:60]!r}{origin}: {problem}.")
        return
    try:
        *outer, last = rest
        node = OmegaConf.select(config, section)
        for name in outer:  # not OmegaConf.update: it takes the dots in a value's keys apart
            if not OmegaConf.is_dict(node.get(name)):
                node[name] = {}
            node = node[name]
        node[last] = value
    except (OmegaConfBaseException, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        found.append(f"`{key}` cannot be {value!r}{origin}: {reason}.")


def _assign(config: Any, key: str, value: Any, found: list[str], origin: str) -> None:
    """Set one leaf of the structured config, or explain why it cannot be set."""
    parts = key.split(".")
    depth = _free_section(config, key)
    if depth is not None and depth < len(parts):
        _assign_free(config, ".".join(parts[:depth]), parts[depth:], value, found, origin)
        return
    parent, _, name = key.rpartition(".")
    node: Any = OmegaConf.select(config, parent) if parent else config
    if "[" in key:  # OmegaConf's second way to write a key; what is asked for is looked up by one
        node = None
    known = list(node.keys()) if OmegaConf.is_dict(node) else []
    if name not in known:
        full = [f"{parent}.{k}" if parent else str(k) for k in known]
        listed = f" Known there: {', '.join(full)}." if full else ""
        own = [k for k, _ in flat(OmegaConf.to_container(config))]
        keys = dict.fromkeys([*full, *own, *all_keys(), *GROUPS])
        there = "" if any(k.rpartition(".")[2] == name for k in keys) else elsewhere(key)
        free = [k for k in known if _is_free(node[k])]
        there += "".join(f" An option of the method is {parent}.{k}.{name}=…" for k in free)
        found.append(f"Unknown key '{key}'{origin}.{there or nearest(key, keys)}{listed}")
        return
    old = OmegaConf.select(node, name, throw_on_resolution_failure=False)  # is replaced now
    if _is_free(old) and isinstance(value, dict):
        for inner, each in value.items():
            _assign_free(config, key, [inner], each, found, origin)
        return
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
            f"`{key}` is {str(value).lower()}{origin}, a truth value; expected "
            f"{_in_words(annotation)}.{quote}"
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
        found.append(f"`{key}` is empty{origin}; for none write {assigned({key: None})}.")
        return
    if annotation.startswith("list") and isinstance(value, str) and not any(resolver_calls(value)):
        value = [value]
    if key in DIRECTIONS and isinstance(value, list):
        value = ",".join(map(str, value))
    numeric = annotation.split(" | ")[0] in ("int", "float")
    if numeric and isinstance(value, str) and "${" not in value:
        # Python's own int() and float() take other scripts' digits and 1_000
        try:
            value = whole(value, -LARGEST) if annotation.startswith("int") else number(value)
        except ValueError:
            found.append(f"`{key}` must be {_in_words(annotation)}, not {value[:60]!r}{origin}.")
            return
    is_path = meta.get("file") or name.rpartition("_")[2] in PATHS
    for text in value if isinstance(value, list) else [value]:
        problem = (path_problem if is_path else text_problem)(text) if isinstance(text, str) else ""
        if problem:
            found.append(f"`{key}` is {text[:60]!r}{origin}: {problem}.")
            return
    try:
        OmegaConf.update(config, key, value, merge=True)
    except (OmegaConfBaseException, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        shown = "null" if value is None else f"{value!r}{origin}: {reason}"
        found.append(f"`{key}` must be {_in_words(annotation)}, not {shown}.")


#: Types as a user knows them.
WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
WORDS |= {"None": "null", "list[str]": "a list", "list[int]": "a list of whole numbers"}


def _in_words(annotation: str) -> str:
    """``a whole number or null`` of ``int | None``."""
    return " or ".join(WORDS.get(one, one) for one in annotation.split(" | "))


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
    if config.data.template is not None:
        check("data.template", registry.TEMPLATES, config.data.template)
    for name in config.data.train_templates or ():
        if not is_prompt(name):
            check("data.train_templates", registry.TEMPLATES, name)
    found.extend(prompt_problems(config.data))
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
        _name_directions(config, found)


def _name_directions(config: RunConfig, found: list[str]) -> None:
    """Write the directions in one way: en-ron and en-ro are one pair."""
    for key in ("lang", "test_lang"):
        given = getattr(config, key)
        if given is None:
            continue
        try:
            setattr(config, key, ",".join(map(str, parse_pairs(given))))
        except MTLotteryError as error:
            found.append(f"`{key}`: {str(error).replace('lang=', f'{key}=', 1)}")
    trained = config.lang.split(",")
    twice = [lang for lang in (config.test_lang or "").split(",") if lang and lang in trained]
    if twice:
        found.append(
            f"`test_lang`: {', '.join(twice)} is among the directions of `lang`, which are tested "
            "anyway; name directions that are not trained."
        )


def _of_other_roles(given: Any, values: dict[str, Any]) -> tuple[type, ...]:
    """The schemas of the corpora of dev and test."""
    section = given if isinstance(given, dict) else {}
    asked = [values.get(f"data.{role}", section.get(role)) for role in ("dev", "test")]
    named = [str(name) for name in asked if name in registry.CORPORA.names()]
    return tuple(s for s in map(registry.CORPORA.dataclass_of, named) if s is not None)


def build(
    content: dict[str, Any], values: dict[str, Any], found: list[str], source: str = "the recipe"
) -> RunConfig:
    """The checked configuration.

    Args:
        content: what a recipe or a stored configuration says, nested.
        values: what this call says, dotted key → value; it goes before ``content``.
        found: mistakes that were found before.
        source: what a message calls ``content``.

    Raises:
        ConfigError: every mistake, those of ``found`` included.
        PluginError: the settings class of a plugin cannot be used.
    """
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
            schema = kind.dataclass_of(str(name)) or (DataConfig if section == "data" else None)
            if schema is not None:
                try:
                    others = _of_other_roles(given, values) if section == "data" else ()
                    config[section] = OmegaConf.structured(with_settings_of(schema, others))
                # a type that is not imported is a NameError, of its own kind each
                except (OmegaConfBaseException, NameError, TypeError, AttributeError) as error:
                    raise PluginError(
                        f"The settings of the {kind.kind} '{name}' ({schema.__module__}."
                        f"{schema.__qualname__}) cannot be used: {str(error).splitlines()[0]}"
                    ) from error
        elif name is not None:
            place = for_a_path(section, str(name))
            found.append(f"`{section}.name`: {unknown(kind.kind, str(name), kind.names())}{place}")
    for settings, origin in ((content, f" in {source}"), (values, "")):
        for key, value in _leaves(config, settings):
            _assign(config, key, value, found, origin)
    try:
        if lacking := sorted(OmegaConf.missing_keys(config)):
            raise LackingError(lacking, list(dict.fromkeys(found)))
        result = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:  # ${…} that leads nowhere
        where = str(error.full_key or "")
        found.append(
            f"{f'`{where}`: ' if where else ''}{str(error).splitlines()[0]}. "
            "(${…} stands for another setting; \\${…} is these characters.)"
        )
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
