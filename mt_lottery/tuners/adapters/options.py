"""PEFT's methods as they are installed: names, options, and what cannot be trained here.

Nothing here knows the methods one by one: names and options are those of PEFT's own table of
configuration classes, so that a method of a later PEFT works too.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from mt_lottery.errors import nearest, shorten, unknown
from mt_lottery.system.quiet import no_warnings

#: The PEFT that first had a method, of those that 0.18 lacks.
SINCE = {
    **{"adamss": "0.19", "cartridge": "0.19", "gralora": "0.19", "lily": "0.19", "peanut": "0.19"},
    **{"psoft": "0.19", "pvera": "0.19", "tinylora": "0.19"},
    **{"beft": "0.20", "deft": "0.20", "frod": "0.20", "glora": "0.20", "hira": "0.20"},
    **{"unilora": "0.20", "shadow": "0.21", "supertuning": "0.21"},
}

#: Why a method of PEFT cannot be trained on sentence pairs by themselves.
REFUSED = {
    "xlora": "it mixes LoRA adapters that must have been trained before",
    "poly": "it needs the number of a task beside each sentence",
    "multitask_prompt_tuning": "it needs the number of a task beside each sentence",
    "cpt": "it has a loss of its own, over the kinds of the tokens in its prompt",
}

#: Start values that PEFT computes from data that a run here does not collect beforehand.
FROM_DATA = ("eva", "corda", "lora_ga")

#: Fields of every configuration that the run sets itself.
OURS = {
    *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path"),
    *("revision", "inference_mode", "runtime_config"),
}


#: PEFT's warnings are for its own users: about hubs, tied heads, training modes.
quiet = no_warnings


def methods() -> dict[str, type]:
    """Name → configuration class of every method that the installed PEFT has."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as CONFIGS

    return {str(getattr(kind, "value", kind)).lower(): config for kind, config in CONFIGS.items()}


def tuner_class(method: str) -> Any:
    """PEFT's class that puts a method into a model; None where it has none."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING as TUNERS

    found = {str(getattr(kind, "value", kind)).lower(): made for kind, made in TUNERS.items()}
    return found.get(method)


def listed_layers(method: str) -> Mapping[str, Any]:
    """Kind of model → the layers that PEFT puts a method on; empty where it has no such list."""
    from peft.utils import constants

    name = f"TRANSFORMERS_MODELS_TO_{method.upper()}_TARGET_MODULES_MAPPING"
    own = getattr(tuner_class(method), "target_module_mapping", None)
    found: Mapping[str, Any] = own or getattr(constants, name, None) or {}
    return found


def is_prompt_learning(config: type) -> bool:
    """Whether a method puts learned positions before the input."""
    from peft.config import PromptLearningConfig

    return issubclass(config, PromptLearningConfig)


def fields_of(config: type) -> dict[str, Any]:
    """Name → annotation of every option of a configuration class; ``Any`` where it is unknown."""
    names = [f.name for f in dataclasses.fields(config) if f.init]  # type: ignore[arg-type]
    try:
        hints = typing.get_type_hints(config)
    except (NameError, TypeError, AttributeError):  # a name that only a type checker imports
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def problems_of(method: str, options: Mapping[str, Any]) -> list[str]:
    """What is wrong with a method and its options, a sentence each, before there is a model."""
    import peft

    known = methods()
    config = known.get(method)
    if config is None:
        if method in SINCE:
            return [
                f"`tuner.method` is {method}, which PEFT has since {SINCE[method]}; installed is "
                f"{peft.__version__}: pip install -U 'peft>={SINCE[method]}'."
            ]
        possible = [name for name in known if name not in REFUSED]
        return [f"`tuner.method`: {unknown('method of PEFT', method, possible)}"]
    if method in REFUSED:
        return [f"`tuner.method` is {method}: {REFUSED[method]}; mt-lottery cannot train that."]
    if moves_ranks(method, options):
        asa = "use_asa" in options
        asked = "tuner.options.use_asa" if asa else "tuner.method"
        return [
            f"`{asked}` is {options.get('use_asa', method)}: {f'{method} then' if asa else 'it'} "
            "gives parameters to some layers and takes them from others after every step, from "
            "what it has seen so far, which no checkpoint keeps; mt-lottery cannot train that."
        ]
    fields = {name: kind for name, kind in fields_of(config).items() if name not in OURS}
    own = sorted(name for name in fields if name != "target_modules")
    found = []
    for name, value in options.items():
        key = f"tuner.options.{name}"
        if name == "target_modules" and name in fields:
            found.append(f"`{key}`: write tuner.target_modules=[…]; options hold all the others.")
        elif name in OURS:
            found.append(f"`{key}` is set by the run itself.")
        elif name not in fields:
            hint = nearest(name, own)
            found.append(
                f"`{key}`: {config.__name__} of PEFT {peft.__version__} has no option '{name}'."
                f"{hint} It has: {', '.join(own)}."
            )
        elif not fits(value, fields[name]):
            found.append(f"`{key}` must be {described(fields[name])}, not {shorten(value)}.")
        elif isinstance(value, str) and value in FROM_DATA and name.startswith("init"):
            found.append(
                f"`{key}` is {value}: it starts from what the model computes of some data, which "
                "a run does not collect beforehand."
            )
        elif isinstance(value, str) and value.startswith("pissa_niter"):
            found.append(
                f"`{key}` is {value}: PEFT draws that start anew when the adapter is loaded, so "
                "that it would sit on another base; pissa is the exact one."
            )
    return found or _own_refusals(method, config, options)


def _own_refusals(method: str, config: type, options: Mapping[str, Any]) -> list[str]:
    """What PEFT's configuration class itself says of the options."""
    try:
        made(config, options)
    except (ValueError, TypeError, ImportError, AssertionError) as error:
        return [f"tuner.method={method}: PEFT says: {' '.join(str(error).split())}"]
    return []


def moves_ranks(method: str, options: Mapping[str, Any]) -> bool:
    """Whether PEFT wants to be called after every step (AdaLoRA; AdaMSS if it is asked to)."""
    asks = hasattr(tuner_class(method), "update_and_allocate")
    optional = "use_asa" in fields_of(methods()[method])
    return asks and (bool(options.get("use_asa")) or not optional)


def made(config: type, options: Mapping[str, Any]) -> Any:
    """PEFT's configuration with options as a recipe writes them.

    Raises:
        ValueError, TypeError, ImportError, AssertionError: PEFT's own, for options that do not
            go together.
    """
    kinds = fields_of(config)
    given = {name: _built(value, kinds[name]) for name, value in options.items()}
    with quiet():
        return config(**{"task_type": "CAUSAL_LM", **given})


def _parts(kind: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation: those of a union, or itself."""
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if is_union else (kind,)


def _built(value: Any, kind: Any) -> Any:
    """A dictionary as the dataclass that an option wants, where it takes no dictionary."""
    parts = _parts(kind)
    if isinstance(value, dict) and dict not in map(_plain, parts):
        for part in parts:
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                return part(**value)
    return value


def _plain(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of YAML's types is of an annotation's; what cannot be told fits.

    >>> fits(8, int | None), fits(True, int), fits([1, "x"], list[int])
    (True, False, False)
    """
    return any(_fits(value, part) for part in _parts(kind))


def _fits(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is None or kind is type(None):
        return kind is Any or value is None
    if origin is typing.Literal:
        # PEFT writes a family of names as one: pissa_niter_[number of iters]
        families = [a.partition("[")[0] for a in arguments if isinstance(a, str) and "[" in a]
        begins = isinstance(value, str) and any(value.startswith(f) for f in families)
        return begins or any(value == a and type(value) is type(a) for a in arguments)
    if origin in (list, tuple, set):
        if not isinstance(value, list):
            return False
        if origin is tuple and arguments[-1] is not Ellipsis:
            return len(value) == len(arguments) and all(map(fits, value, arguments))
        inner = arguments[0] if arguments else Any
        return all(fits(each, inner) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(v, arguments[1]) for v in value.values())
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if kind is int or kind is float:
        numbers = (int, float) if kind is float else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    if kind in (list, tuple, set):
        return isinstance(value, list)
    if kind is dict or dataclasses.is_dataclass(kind):
        return isinstance(value, dict)
    if isinstance(kind, type) and issubclass(kind, str):  # an enumeration of texts
        return isinstance(value, str)
    return not isinstance(kind, type)


def described(kind: Any) -> str:
    """An annotation in words: ``a whole number or null``."""
    words: dict[Any, str] = {
        **{bool: "true or false", int: "a whole number", float: "a number", str: "a text"},
        **{type(None): "null", list: "a list", set: "a list", tuple: "a list"},
        **{dict: "a dictionary {key: value}"},
    }
    found = []
    for part in _parts(kind):
        plain = _plain(part)
        if plain is typing.Literal:
            found += [str(choice) for choice in typing.get_args(part)]
        elif plain is list and typing.get_args(part):
            found.append(f"a list, each item {described(typing.get_args(part)[0])}")
        elif plain in words:
            found.append(words[plain])
        elif dataclasses.is_dataclass(plain):
            found.append(words[dict])
        elif isinstance(plain, type) and issubclass(plain, str):
            found += [str(getattr(choice, "value", choice)) for choice in plain]  # type: ignore[attr-defined]
        else:
            found.append(str(part))
    return " or ".join(dict.fromkeys(found))
