"""One argument of the command line, ``key=value``, in Hydra's grammar."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType, QuotedString
from hydra.errors import HydraException

from mt_lottery.errors import nearest


@dataclass(frozen=True)
class Number:
    """A number of the command line; a text field takes it as written (revision=12e4567)."""

    value: float
    written: str

    def __str__(self) -> str:
        return self.written


def parse_override(text: str, keys: Sequence[str], problems: list[str]) -> tuple[str, Any] | None:
    """``key=value`` → (key, value).

    Args:
        text: the argument.
        keys: the known ones, for a hint.
        problems: a mistake is added to it.
    """
    home = re.fullmatch(r"([\w.]+)=~(/.*)?", text)
    if home:  # the shell leaves `key=~/x` alone, and `~` is no character of the grammar
        return home[1], os.path.expanduser("~") + (home[2] or "")
    if re.fullmatch(r"[\w.]+=[\w./ -]*[^\x00-\x7f][\w./ -]*", text):
        key, _, value = text.partition("=")  # letters beyond ASCII: the grammar knows none
        return key, value
    key, equals, written = text.partition("=")
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
    if isinstance(result, QuotedString):
        result = str(result)
    elif isinstance(result, (int, float)) and not isinstance(result, bool):
        result = Number(result, written.strip())
    return key, result


def _quoted(key: str, value: str) -> str:
    """How to write a value with signs of the grammar, shell quotes included."""
    escaped = value.replace('"', '\\"')
    return shlex.quote(f'{key}="{escaped}"')
