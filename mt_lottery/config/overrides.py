"""The arguments of the command line, ``key=value`` each, in Hydra's grammar."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, QuotedString
from hydra.errors import HydraException

from mt_lottery import registry
from mt_lottery.errors import ConfigError, alike, argument, assigned, nearest


@dataclass(frozen=True)
class Number:
    """A number of the command line; a text field takes it as written (revision=12e4567)."""

    value: float
    written: str

    def __str__(self) -> str:
        return self.written


#: Settings that may name several directions, separated by commas.
DIRECTIONS = ("lang", "test_lang")
#: Settings that are prose: all behind "=" is their text, with \n for a line break.
PROSE = ("data.prompt", "data.system")
#: Lists of names and prose: a line break is written \n in them too.
PROSE_LISTS = ("data.train_templates",)

PAIR = re.compile(r"[a-zA-Z]{2,3}-[a-zA-Z]{2,3}")


def parse_overrides(
    texts: Sequence[str],
    keys: Sequence[str],
    recipes: Callable[[], Sequence[str]],
    found: list[str],
) -> list[tuple[str, Any]]:
    """``key=value`` each → (key, value) each.

    Args:
        texts: the arguments.
        keys: the known ones, for hints.
        recipes: gives the names of the recipes, for hints.
        found: mistakes are added to it.
    """
    pairs, place = [], 0
    while place < len(texts):
        text = texts[place]
        if text.startswith(("+", "~")) or ("=" in text and not text.startswith("-")):
            pair = parse_override(text, keys, found)
            pairs += [pair] if pair else []
            place += 1
            continue
        rest = texts[place + 1 :]
        used = 2 if rest[:1] == ["="] else 1  # lang = en-ro
        following = next(iter(rest[used - 1 :]), None)
        place += _stray(text, following, used, keys, recipes, found)
    return pairs


def _stray(
    text: str,
    following: str | None,
    used: int,
    keys: Sequence[str],
    recipes: Callable[[], Sequence[str]],
    found: list[str],
) -> int:
    """Explain an argument that is no key=value; returns how many arguments it takes up."""
    word, equals, value = text.lstrip("-").partition("=")
    word = word.replace("-", "_")
    meant = [word] if word in keys else alike(word, keys)
    is_key = bool(meant) and (text.startswith("-") or word in keys)
    if equals:
        taken = 1
    elif is_key and following is not None and not re.match(r"-|[\w.]+=", following):
        value, taken = following, 1 + used
    else:
        value, taken = "…", 1
    if is_key:
        given = " ".join([text, *([following] if taken > 1 and following else [])])
        options = " or ".join(f"{key}={value}" for key in meant)
        wrong = f"'{given}' is not of the form key=value"
        hint = f": write {options}." if word in keys else f".{nearest(word, keys)}"
        found.append(wrong + hint + ("" if word in keys else f" Write {options}."))
    elif text in recipes():
        found.append(f"'{text}' is not of the form key=value: write recipe={text}.")
    elif PAIR.fullmatch(text):
        found.append(f"'{text}' is not of the form key=value: write lang={text}.")
    else:
        close = nearest(text, [*keys, *(f"recipe={name}" for name in recipes())])
        found.append(f"'{text}' is not of the form key=value.{close}")
    return taken


def twice(texts: Sequence[str]) -> list[str]:
    """A sentence for every key that a command line gives several values: the last one counts.

    As in Hydra: a script's arguments can be followed by others.
    """
    given: dict[str, list[str]] = {}
    for text in texts:
        key, equals, _ = text.partition("=")
        if equals:
            given.setdefault(key, []).append(text)
    return [
        f"`{key}` is given more than once ({', '.join(several)}); {several[-1]}, the last, counts."
        for key, several in given.items()
        if len(set(several)) > 1
    ]


def parse_override(text: str, keys: Sequence[str], problems: list[str]) -> tuple[str, Any] | None:
    """``key=value`` → (key, value).

    Args:
        text: the argument.
        keys: the known ones, for a hint.
        problems: a mistake is added to it.
    """
    key, equals, written = text.partition("=")
    if key in PROSE and written.strip() and written != "null":
        return key, _prose(written)
    home = re.fullmatch(r"([\w.]+)=~(/.*)?", text)
    if home:  # the shell leaves `key=~/x` alone, and `~` is no character of the grammar
        return home[1], os.path.expanduser("~") + (home[2] or "")
    if re.fullmatch(r"[\w.]+=[\w./ -]*[^\x00-\x7f][\w./ -]*", text):
        return key, written  # letters beyond ASCII: the grammar knows none
    if key in DIRECTIONS and re.fullmatch(r"[\w,\s-]*,[\w,\s-]*", written):
        return key, written  # the grammar takes a comma for a sweep
    if equals and not written.strip():
        problems.append(f"`{key}` has no value: for none write {key}=null, or leave it out.")
        return None
    try:
        parsed = OverridesParser.create().parse_override(text)
    except RecursionError:
        problems.append(f"The value of '{key}' is nested too deep.")
        return None
    except ValueError:  # Python's limit on the digits of a whole number
        problems.append(f"`{key}` holds a number of thousands of digits; nothing takes it.")
        return None
    except HydraException:
        if not equals:
            hint = "" if text in keys else nearest(text, keys)
            problems.append(f"'{text}' is not of the form key=value.{hint}")
        else:
            problems.append(
                f"The value of '{key}' cannot be read: {written}. A value with '=', quotes, '~', "
                f"'#' or brackets needs quotes inside quotes: {_quoted(key, written)}."
            )
        return None
    if parsed.type is not OverrideType.CHANGE or parsed.package:
        problems.append(f"'{text}': write key=value; '+', '~' and '@' have no use here.")
        return None
    if parsed.is_sweep_override():
        problems.append(
            f"'{text}' gives several values for one key; a run takes one. For a list write "
            f"{key}=[…], for text with a comma {_quoted(key, written)}, for several runs use "
            "mt-bench."
        )
        return None
    result: Any = parsed.value()
    if key in PROSE_LISTS and isinstance(result, list):
        result = [_prose(str(each)) for each in result]
    elif isinstance(result, QuotedString):
        result = str(result)
    elif isinstance(result, (int, float)) and not isinstance(result, bool):
        result = Number(result, written.strip())
    return key, result


def _prose(written: str) -> str:
    """A text as a shell's argument has it: quotes around it are no part of it."""
    if len(written) > 1 and written[0] == written[-1] and written[0] in "\"'":
        written = written[1:-1]
    escapes = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda match: escapes[match[1]], written)


def as_text(value: str) -> str:
    """A text in the grammar of the command line: in quotes where it would be read otherwise."""
    if parse_override(f"text={value}", [], []) == ("text", value):
        return value
    return quoted(value)


def quoted(value: str) -> str:
    """A text in quotes, in the grammar of the command line, which is Hydra's."""
    # a backslash is itself there, unless a quote follows
    marks = r'(\\*)("|\Z)'
    return '"' + re.sub(marks, lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value) + '"'


def literal(option: str, path: Path) -> str:
    """A path that an option names, if a run's settings take it as it is.

    Raises:
        ConfigError: it holds ``${``. It could be escaped here, but a run stores its settings and
            changes them for its trials, and would take it for another setting then.
    """
    if "${" in str(path):
        raise ConfigError(
            f"{argument(option)}: the path {path} holds `${{`, which stands for another setting in "
            "a run's settings. Allowed: a path without `${`."
        )
    return str(path)


def _quoted(key: str, value: str) -> str:
    """How to write a value with signs of the grammar, shell quotes included."""
    return shlex.quote(f"{key}={quoted(value)}")


def elsewhere(key: str) -> str:
    """Which tuners or corpora have a setting that this run's have not; "" if none."""
    section, _, name = key.rpartition(".")
    for kind, part in ((registry.TUNERS, "tuner"), (registry.CORPORA, "data")):
        if section not in ("", part):
            continue
        owners = [o for o in kind.names() if name in _fields(kind.dataclass_of(o))]
        if owners:
            group = "recipe" if part == "tuner" else part
            return f" `{part}.{name}` is a setting of {group}={', '.join(owners)}."
    return ""


def _fields(schema: type | None) -> set[str]:
    return set() if schema is None else {f.name for f in dataclasses.fields(schema)}


def is_place(name: object) -> bool:
    """Whether a model or corpus is named by its folder, file or hub id."""
    return isinstance(name, str) and ("/" in name or os.path.exists(name))


def for_a_path(group: str, name: str) -> str:
    """What to write where a model or corpus is named by its place; "" for any other name."""
    if group not in ("model", "data") or not is_place(name):
        return ""
    if group == "model":
        place = assigned({"model": "hf", "model.name_or_path": name})
        return f" For a folder, file or hub id write {place}."
    file, hub = (assigned({"data": kind, "data.path": name}) for kind in ("files", "hub"))
    for_a_hub_id = "" if os.path.exists(name) else f", for a hub id {hub}"
    return f" For a file or folder write {file}{for_a_hub_id}."
