"""Texts that a call from Python was given: checked before anything is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mt_lottery.errors import MTLotteryError, shorten

#: What :func:`is_unicode` finds.
HALF = "half a surrogate pair (\\ud800 to \\udfff)"


def check_ordered(name: str, given: Any, error: type[MTLotteryError]) -> None:
    """Refuse what Python goes through by its keys, its columns, or in no order.

    Args:
        name: of the argument.
        given: what should be a list, an array, a column, a generator, ….
        error: the class to raise.

    Raises:
        error: a mapping, a set or a table; the message says what to give.
    """
    if isinstance(given, set | frozenset):  # the keys of a dict, a kind of set too, have an order
        raise error(f"{name} is a {type(given).__name__}, which has no order; give a list.")
    if isinstance(given, Mapping):
        kind = type(given).__name__
        raise error(
            f"{name} is a {kind}, and only its keys would be taken; give a list, such as that of "
            "its values()."
        )
    columns = getattr(given, "columns", None)
    if columns is not None:  # of pandas, polars, …
        names = getattr(given, "column_names", columns)  # pyarrow's columns are the values
        named = ", ".join(shorten(each) for each in list(names)[:10])
        raise error(
            f"{name} is a {type(given).__name__}; give one of its columns ({named}), not all."
        )


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: half a surrogate pair is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(name: str, text: Any, error: type[MTLotteryError]) -> str:
    """One text that can be encoded.

    Args:
        name: of the argument, with its place.
        text: what should be a text.
        error: the class to raise.

    Raises:
        error: no text, or one that is not Unicode.
    """
    if not isinstance(text, str):
        raise error(f"{name} must be a text, not {type(text).__name__}.")
    if not is_unicode(text):
        raise error(f"{name} holds {HALF}, which is no character.")
    return str(text)  # NumPy's own kind of text too


def check_texts(name: str, given: Any, error: type[MTLotteryError]) -> list[str]:
    """Texts that a call was given, as a list: of any iterable, an array or a column too.

    Args:
        name: of the argument.
        given: what should be texts.
        error: the class to raise.

    Raises:
        error: one text, nothing to go through, nothing in an order (:func:`check_ordered`), or an
            element that is no text; with its place.
    """
    if isinstance(given, str | bytes):
        raise error(f"{name} is one text; give a list of them: [{shorten(given)}].")
    check_ordered(name, given, error)
    if not isinstance(given, Iterable):
        raise error(f"{name} must be a list of texts, not {type(given).__name__}.")
    return [check_text(f"{name}[{place}]", text, error) for place, text in enumerate(given)]
