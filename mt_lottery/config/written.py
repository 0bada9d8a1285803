"""What a setting was written as: ``${oc.env:NAME}`` is kept, its value is not.

A configuration is resolved once, when it is composed, and its values are used from then on.
Where it is written down again (``config.yaml``, the parameters of a tracker), what was read from
the environment has no place: it may be a key, and it belongs to this machine.  So each value that
came from a resolver is remembered here with its text, for as long as the process lives; a value
that was changed since is not found, and is written as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_RESULT = "\0"  # in place of an inner ${…}: what it gives is not known
_texts: dict[tuple[str, str], Any] = {}


def resolver_calls(value: Any) -> Iterator[tuple[str, str]]:
    """The resolvers that a value calls, innermost first, with their arguments as written.

    ``${oc.decode:${oc.env:N}}`` gives ``("oc.env", "N")`` and ``("oc.decode", "\\0")``; a text
    that cannot be taken apart gives ``("?", text)``.  ``${other.key}`` is no call.
    """
    for text in value if isinstance(value, (list, tuple)) else [value]:
        if not isinstance(text, str) or "${" not in text:
            continue
        rest = text
        while match := _INNERMOST.search(rest):
            name, colon, argument = match[1].partition(":")
            if colon:
                yield name.strip(), argument.strip()
            elif _RESULT in name:  # ${${a}}: what is looked up depends on a value
                yield "?", text
            rest = rest[: match.start()] + _RESULT + rest[match.end() :]
        if "${" in rest:
            yield "?", text


def _key(key: str, value: Any) -> tuple[str, str]:
    return key, json.dumps(value, sort_keys=True, default=repr)


def remember(key: str, value: Any, text: Any) -> None:
    """Note that a key's value was written as ``text``, a text (or list of texts) with calls."""
    _texts[_key(key, value)] = text


def text_of(key: str, value: Any) -> Any | None:
    """What a key's value was written as, if it called a resolver; else None."""
    return _texts.get(_key(key, value))


def as_written(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with the texts of those that called a resolver.

    Args:
        content: of a configuration, as plain dictionaries.
        prefix: of its keys.
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            found[name] = as_written(value, f"{key}.")
        else:
            text = text_of(key, value)
            found[name] = value if text is None else text
    return found
