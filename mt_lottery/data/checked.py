"""What a corpus gives back, checked: a third party's may give anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mt_lottery.data.filters import Report
from mt_lottery.data.text import Pair
from mt_lottery.errors import DataError
from mt_lottery.languages import LanguagePair
from mt_lottery.registry import CORPORA, described

_PAIR = "mt_lottery.data.text.Pair(source, target)"


def checked_pool(name: str, corpus: Any, role: str) -> str:
    """The pool of a role.

    Raises:
        PluginError: it is no text.
    """
    pool = corpus.pool(role)
    if not isinstance(pool, str):
        raise CORPORA.fault(name, f"pool('{role}') gave {described(pool)}; wanted is a text")
    return pool


def checked_pairs(name: str, corpus: Any, pool: str, pair: LanguagePair) -> Sequence[Pair]:
    """The pairs of a pool.

    Raises:
        PluginError: they are no pairs of texts.
        DataError: there are none.
    """
    pairs, call = corpus.read(pool, pair), f"read('{pool}', {pair})"
    if not isinstance(pairs, Sequence) or isinstance(pairs, (str, bytes)):
        raise CORPORA.fault(name, f"{call} gave {described(pairs)}; wanted is a list of {_PAIR}")
    for number, each in enumerate(pairs):
        if not isinstance(each, Pair):
            raise CORPORA.fault(
                name, f"{call} gave {described(each)} as pair {number}; wanted is {_PAIR}"
            )
        for side, text in (("source", each.source), ("target", each.target)):
            if not _is_text(text):
                raise CORPORA.fault(
                    name,
                    f"{call}: the {side} of pair {number} is {described(text)}; wanted is a text "
                    "that is not empty and that UTF-8 can hold",
                )
    if not pairs:
        raise DataError(f"The corpus '{name}' has no pairs for {pair} in '{pool}'.")
    return pairs


def checked_report(name: str, corpus: Any, pool: str) -> Report | None:
    """The counts of a pool that was read; None where the corpus keeps none.

    Raises:
        PluginError: something else than a report.
    """
    found = getattr(corpus, "report", lambda _: None)(pool)
    if found is not None and not isinstance(found, Report):
        raise CORPORA.fault(
            name,
            f"report('{pool}') gave {described(found)}; wanted is mt_lottery.data.filters.Report, "
            "or None",
        )
    return found


def _is_text(text: Any) -> bool:
    if not isinstance(text, str) or not text.strip():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
