"""Whether what is registered looks as its kind's contract wants it.

A name that almost is a method's is refused too: a misspelt optional method would never be
called, without any sign of it.  Helpers under other names are the plugin's own affair.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from types import FunctionType
from typing import Any

from mt_lottery.registry.contracts import CONTRACTS, Contract, resolve


def problems_of(kind: str, name: object, target: object, schema: object) -> Iterator[str]:
    """What keeps an object from being a plugin of a kind, one sentence each.

    Args:
        kind: ``"tuner"``; a kind without a contract takes anything.
        name: under which it is to be registered.
        target: what is to be registered.
        schema: the dataclass of its settings, or None.
    """
    contract = CONTRACTS.get(kind)
    if contract is None:
        return
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        yield f"its name must be text of letters, digits, '_', '-' and '.', not {name!r}"
    yield from _schema_problems(contract, schema)
    named = str(getattr(target, "__qualname__", "it"))
    shape = resolve(contract.shape)
    call = vars(shape).get("__call__")
    wanted = _parameters(call)[1:] if call else contract.factory and _parameters(contract.factory)
    # a class of optimizers, called, gives one
    makes = kind == "optimizer" and hasattr(target, "step")
    if isinstance(target, type) and call is None:
        yield from _class_problems(contract, shape, target)
    elif isinstance(target, type) and not makes:
        yield f"a class ({named}) is registered, but it must be {contract.wanted}"
    elif wanted is not None and callable(target):
        # what a selector needs beside the two tables, it says by further parameters
        yield from _signature_problem(named, target, wanted, more=kind == "selector")
    else:
        found = "a function" if isinstance(target, FunctionType) else f"{target!r:.80}"
        yield f"{found} is registered, but it must be {contract.wanted}"


def _schema_problems(contract: Contract, schema: object) -> Iterator[str]:
    if schema is None:
        return
    if contract.schema is None:
        yield "it takes no dataclass=…: only tuners, models and corpora have their own settings"
        return
    base = contract.schema.rpartition(".")[2]
    if not isinstance(schema, type):
        yield f"dataclass= must be a class that extends {contract.schema}, not {schema!r:.80}"
    elif contract.schema not in map(_dotted, schema.__mro__):
        yield (
            f"the class of its settings, {schema.__qualname__}, must extend {contract.schema}: "
            f"class {schema.__name__}({base})"
        )
    elif "__dataclass_fields__" not in vars(schema):
        yield (
            f"the class of its settings, {schema.__qualname__}, is no dataclass: write "
            "@dataclass above it (its settings would be those of its base class alone)"
        )


def _dotted(cls: type) -> str:
    # the settings are imported from their room, not from the file in it
    return f"{cls.__module__.removesuffix('.settings')}.{cls.__qualname__}"


def _class_problems(contract: Contract, shape: type, target: type) -> Iterator[str]:
    if contract.base and shape not in target.__mro__:
        yield f"{target.__qualname__} must extend mt_lottery.{contract.shape}"
        return
    extras = [resolve(contract.extras)] if contract.extras else []
    known = {n: v for c in (*_toolkit(target)[::-1], *extras, shape) for n, v in vars(c).items()}
    hooks = {name: value for name, value in known.items() if not name.startswith("_")}
    abstract: frozenset[str] = getattr(target, "__abstractmethods__", frozenset())
    missing = {
        name
        for name in hooks
        if name in abstract
        or (not contract.base and name in vars(shape) and not hasattr(target, name))
    }
    own = [n for c in target.__mro__ if not _is_ours(c) for n in vars(c) if not n.startswith("_")]
    close = {hook: _near(hook, own, hooks) for hook in hooks if hook not in own}
    for hook in sorted(missing):
        hint = f"; its '{close[hook]}' is a misspelling?" if close.get(hook) else ""
        yield f"{target.__qualname__} lacks {_shown(hook, hooks[hook])}{hint}"
    for hook, name in close.items():
        if name is not None and hook not in missing:
            yield (
                f"'{name}' of {target.__qualname__} is never called: did you mean '{hook}'? "
                f"(a helper of that name needs another one, '_{name}' for example)"
            )
    if shape.__init__ is not object.__init__ or target.__init__ is not object.__init__:  # type: ignore[misc]
        wanted = _parameters(shape.__init__)[1:] if "__init__" in vars(shape) else []  # type: ignore[misc]
        yield from _signature_problem(f"{target.__qualname__}(…)", target, wanted)
    for hook in own:
        if hook in hooks:
            yield from _hook_problem(target, hook, hooks[hook])


LIBRARIES = {"mt_lottery", "numpy", "peft", "sacrebleu", "torch", "transformers"}


def _is_ours(cls: type) -> bool:
    """A class of the toolkit or of a library: what it defines is no plugin's misspelling."""
    package = cls.__module__.partition(".")[0]
    return package in LIBRARIES or package in sys.stdlib_module_names


def _near(hook: str, own: Sequence[str], hooks: Collection[str]) -> str | None:
    """The name among a plugin's that is almost ``hook``, and no hook itself."""
    for name in own:
        if name in hooks:
            continue
        alike = difflib.SequenceMatcher(None, name.lower(), hook).ratio() >= 0.85
        if alike or sorted(name.lower()) == sorted(hook):
            return name
    return None


def _toolkit(target: type) -> list[type]:
    return [c for c in target.__mro__ if c.__module__.partition(".")[0] == "mt_lottery"]


def _shown(hook: str, definition: Any) -> str:
    if isinstance(definition, property):
        return f"the property {hook}"
    inner = definition.__func__ if isinstance(definition, staticmethod) else definition
    if not isinstance(inner, FunctionType):
        return f"the attribute {hook}"
    names = [p.name for p in _parameters(inner) if p.name != "self"]
    return f"the method {hook}({', '.join(names)})"


def _parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _hook_problem(target: type, hook: str, expected: Any) -> Iterator[str]:
    """What is wrong with one method, property or attribute that a plugin's class defines."""
    found = inspect.getattr_static(target, hook)
    where = f"{target.__qualname__}.{hook}"
    if isinstance(expected, property):
        if isinstance(found, (FunctionType, staticmethod, classmethod)):
            yield f"{where} is a method, but it must be a property: write @property above it"
        return
    static = isinstance(expected, staticmethod)
    inner = expected.__func__ if static else expected
    if not isinstance(inner, FunctionType):
        if isinstance(found, (FunctionType, staticmethod, classmethod)):
            yield f"{where} is a method, but it must be a value, such as {expected!r}"
        elif isinstance(expected, bool) and not isinstance(found, (bool, property)):
            yield f"{where} must be True or False, not {found!r:.80}"
        return
    if isinstance(found, property):
        yield f"{where} is a property, but it must be a method: remove @property"
        return
    wanted = _parameters(inner)[0 if static else 1 :]
    if isinstance(found, (staticmethod, classmethod)):
        call = found.__get__(None, target)
    elif static:
        if isinstance(found, FunctionType) and _takes(found, wanted):
            return
        yield f"{where} is called on the class, without an object: write @staticmethod above it"
        return
    elif isinstance(found, FunctionType):
        call = found.__get__(object(), target)
    else:
        call = found
    if not callable(call):
        yield f"{where} must be a method, not {found!r:.80}"
        return
    yield from _signature_problem(where, call, wanted)


def _arguments(wanted: Sequence[inspect.Parameter]) -> tuple[list[str], dict[str, str]]:
    places = [p.name for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]
    return places, {p.name: p.name for p in wanted if p.kind is p.KEYWORD_ONLY}


def _takes(call: Any, wanted: Sequence[inspect.Parameter]) -> bool:
    return next(_signature_problem("", call, wanted), None) is None


def _signature_problem(
    where: str, call: Any, wanted: Sequence[inspect.Parameter], *, more: bool = False
) -> Iterator[str]:
    """Whether something can be called as the toolkit will call it; with ``more``, with others."""
    places, names = _arguments(wanted)
    shown = ", ".join([*places, *(["*", *names] if names else [])])
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError) as error:  # compiled code says nothing of its parameters
        if "invalid method signature" in str(error):
            yield f"{where} must take ({shown}), after 'self', but takes nothing"
        return
    bind = signature.bind_partial if more else signature.bind
    try:
        bind(*places, **names)
    except TypeError as error:
        yield f"{where} must take ({shown}), but takes {signature}: {error}"
