"""Errors that a user can cause and fix.

Every class here is a mistake in what was given to the toolkit (a
setting, a file, a model folder), never for a bug in it.  The command line
prints the message alone and exits with 2; anything else is a crash (exit 1).
A message says what was wrong, where (path and line or key), the value, and
what is allowed.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class MTLotteryError(Exception):
    """Base of every error that the user can fix.

    >>> import mt_lottery as mtl
    >>> try:
    ...     mtl.Level(1.5)
    ... except mtl.MTLotteryError as error:
    ...     print(error)
    alpha must be a number in [0, 1], got 1.5.
    """


class ConfigError(MTLotteryError):
    """One or several settings are not valid; all of them are listed.

    Args:
        problems: one sentence each, in the order in which they were found.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        if len(self.problems) == 1:
            text = self.problems[0]
        else:
            lines = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, 1))
            text = f"{plural(len(self.problems), 'setting')} are not valid:\n{lines}"
        super().__init__(text)


class LackingError(ConfigError):
    """Settings that have no default were not given.

    Args:
        keys: of those settings.
        problems: whatever else is wrong, before them.
    """

    def __init__(self, keys: Sequence[str], problems: Sequence[str] = ()) -> None:
        self.keys = list(keys)
        lacking = [f"`{key}` must be given: it has no default." for key in keys]
        super().__init__([*problems, *lacking])


class ArgumentError(ConfigError, ValueError):
    """An argument of a Python call has a value that is not allowed."""


class KeywordError(ConfigError, TypeError):
    """A Python call has a keyword that the function does not know."""


class RegistryError(MTLotteryError):
    """A name is unknown, or taken twice, in one of the registries."""


class PluginError(MTLotteryError):
    """A plugin (entry point or ``user_dir``) cannot be imported, or breaks its contract."""


class DataError(MTLotteryError):
    """A corpus is missing, malformed or too small."""


class ModelError(MTLotteryError):
    """A model or tokenizer cannot be loaded or does not fit the request."""


class TuningError(MTLotteryError):
    """A tuning method cannot be applied (an empty ticket, rows out of range)."""


class TrainingError(MTLotteryError):
    """Training cannot go on (a loss that is not finite, a broken checkpoint)."""


class ScoreError(MTLotteryError):
    """A metric cannot be computed on what it was given."""


class RecordError(MTLotteryError):
    """A run directory or its ``record.json`` is damaged, foreign or in the way."""


def alike(name: str, known: Iterable[str]) -> list[str]:
    """The known names that a wrong one may be meant for, best first, four at most.

    For settings it looks at the last part too: ``lr`` may be ``train.lr`` or ``probe.lr``.
    """
    names = list(dict.fromkeys(map(str, known)))
    wanted = _plain(name)
    if same := [k for k in names if _plain(k) == wanted]:
        return same[:1]
    parent, _, last = str(name).rpartition(".")
    if any("." in k for k in names):  # settings
        ends = [k for k in names if _plain(k.rpartition(".")[2]) == _plain(last)]
        near = [k for k in ends if _ratio(parent, k.rpartition(".")[0]) >= 0.6]
        if parent and near:
            return near[:1]
        if ends:
            return ends[:4]
    begins = [k for k in names if len(wanted) > 1 and k.startswith((f"{name}_", f"{name}."))]
    if begins:
        return begins[:4]
    if not parent:
        lasts = {k.rpartition(".")[2] for k in names if "." in k}
        if close := difflib.get_close_matches(last, lasts, n=1, cutoff=0.75):
            return [k for k in names if k.rpartition(".")[2] == close[0]][:4]
    # one letter of two in common says nothing
    return difflib.get_close_matches(str(name), names, n=1, cutoff=0.5 if len(wanted) > 2 else 0.6)


def _plain(name: object) -> str:
    return str(name).casefold().translate(str.maketrans("", "", "-_ "))


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def nearest(name: str, known: Iterable[str], labels: Mapping[str, str] | None = None) -> str:
    """A hint for a name that is not known (:func:`alike`).

    Args:
        name: the wrong one.
        known: those that are allowed.
        labels: what else some of them are called → the name.

    Returns:
        ``" Did you mean 'x'?"``, ``" Did you mean 'x' or 'y'?"`` (leading blank included) or the
        empty string.
    """
    called = labels or {}
    found = alike(name, [*known, *called])
    return _did_you_mean(dict.fromkeys(called.get(each, each) for each in found))


def nearest_file(name: str, known: Sequence[str]) -> str:
    """As :func:`nearest`, for names of files or folders: what follows a dot says little."""
    same = [each for each in known if each.casefold() == name.casefold()]
    found = same or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return _did_you_mean(found)


def _did_you_mean(names: Iterable[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    if not quoted:
        return ""
    listed = " or ".join([*([", ".join(quoted[:-1])] if quoted[1:] else []), quoted[-1]])
    return f" Did you mean {listed}?"


def unknown(
    kind: str, name: str, known: Iterable[str], labels: Mapping[str, str] | None = None
) -> str:
    """The sentence for an unknown name: the value, what is allowed, the nearest match.

    >>> unknown("recipe", "Original", ["lora", "none"], {"Original model": "none"})
    "Unknown recipe 'Original'. Did you mean 'none'? Known: lora, none."

    Args:
        kind: what it is a name of.
        name: the wrong one.
        known: those that are allowed.
        labels: what else some of them are called → the name.
    """
    names = sorted(str(k) for k in known)
    listed = ", ".join(names) if names else "none"
    return f"Unknown {kind} '{name}'.{nearest(name, names, labels)} Known: {listed}."


def plural(count: int | str, noun: str) -> str:
    """A number with what it counts.

    >>> plural(1, "cell"), plural(11_520, "trained parameter"), plural("no", "entry")
    ('1 cell', '11,520 trained parameters', 'no entries')
    """
    shown = count if isinstance(count, str) else f"{count:,}"
    if count == 1:
        return f"{shown} {noun}"
    for end, ends in (("sis", "ses"), ("ss", "sses"), ("ry", "ries")):
        if noun.endswith(end):
            return f"{shown} {noun.removesuffix(end)}{ends}"
    return f"{shown} {noun}s"


_OPTIONS: ContextVar[bool] = ContextVar("_OPTIONS", default=False)


@contextlib.contextmanager
def on_command_line() -> Iterator[None]:
    """While a command is at work: :func:`argument` writes its options."""
    token = _OPTIONS.set(True)
    try:
        yield
    finally:
        _OPTIONS.reset(token)


def argument(name: str, value: object = None) -> str:
    """An argument of a call, or of the command that does the same, as its caller would write it.

    >>> argument("check_alphas"), argument("langs", "ro"), argument("force", True)
    ('check_alphas', 'langs=ro', 'force=True')
    >>> with on_command_line():
    ...     argument("check_alphas"), argument("langs", "ro"), argument("force", True)
    ('--check-alphas', '--langs ro', '--force')
    """
    if not _OPTIONS.get():
        return name if value is None else f"{name}={value}"
    option = f"--{name.replace('_', '-')}"
    return option if value is None or value is True else f"{option} {value}"


def assigned(settings: Mapping[str, object]) -> str:
    """Settings of ``mt-train`` or :func:`mt_lottery.train`, as whoever called it would write them.

    >>> assigned({"overwrite": True})
    'overwrite=True'
    >>> assigned({"model": "hf", "model.name_or_path": "./base"})
    "model='./base'"
    >>> with on_command_line():
    ...     assigned({"overwrite": True}), assigned({"model": "hf", "model.name_or_path": "./base"})
    ('overwrite=true', 'model=hf model.name_or_path=./base')
    """
    if _OPTIONS.get():
        words = {"True": "true", "False": "false", "None": "null"}
        written = {key: str(value) for key, value in settings.items()}
        return " ".join(f"{key}={words.get(value, value)}" for key, value in written.items())
    settings = dict(settings)
    if settings.get("model") == "hf" and (place := settings.pop("model.name_or_path", None)):
        # an id without a slash may be a name of ours, where model= is given
        settings = {"model" if "/" in str(place) else "name_or_path": place} | {
            key: value for key, value in settings.items() if key != "model"
        }
    dotted = {key: value for key, value in settings.items() if "." in key}
    calls = [f"{key}={value!r}" for key, value in settings.items() if key not in dotted]
    return ", ".join([*calls, *([f"settings={dotted!r}"] if dotted else [])])


def by_caller(command: T, python: T) -> T:
    """One of two words: for who gave a command, or called from Python."""
    return command if _OPTIONS.get() else python


def shorten(value: object) -> str:
    """A value as Python writes it, 60 characters at most."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def check_keywords(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keywords that a function does not have with the nearest one that it has.

    Args:
        function: its name, for the message.
        given: keywords of a call.
        known: its arguments.

    Raises:
        KeywordError: a TypeError, as Python's own.
    """
    names = list(known)
    for keyword in given:
        if keyword not in names:
            raise KeywordError(f"{function}: {unknown('argument', keyword, names)}")


def checked_keywords(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with :func:`check_keywords` before each call, and what it lacks named."""
    signature = inspect.signature(function)
    known = [name for name in signature.parameters if name not in ("self", "cls")]
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        check_keywords(name, kwargs, known)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:  # too many, one twice, one missing
            raise KeywordError(f"{name}: {error}; its arguments: {', '.join(known)}.") from None
        return function(*args, **kwargs)

    return checked
