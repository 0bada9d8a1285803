"""What a corpus gives back, checked: a third party's may give anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mt_lottery.data.filters import Report
from mt_lottery.data.text import Pair, is_empty
from mt_lottery.errors import DataError
from mt_lottery.languages import LanguagePair
from mt_lottery.registry import CORPORA

_PAIR = "mt_lottery.data.text.Pair(source, target)"


def checked_pool(name: str, corpus: Any, role: str) -> str:
    """The pool of a role.

    Raises:
        PluginError: it is no text.
    """
    found = corpus.pool(role)
    good = isinstance(found, str)
    pool: str = CORPORA.expect(name, found, f"pool('{role}') must return", "text", good)
    return pool


def checked_pairs(name: str, corpus: Any, pool: str, pair: LanguagePair) -> Sequence[Pair]:
    """The pairs of a pool.

    Raises:
        PluginError: they are no pairs of texts.
        DataError: there are none.
    """
    found, call = corpus.read(pool, pair), f"read('{pool}', {pair})"
    good = isinstance(found, Sequence) and not isinstance(found, (str, bytes))
    pairs: Sequence[Pair] = CORPORA.expect(
        name, found, f"{call} must return", f"a list of {_PAIR}", good
    )
    wanted = "text that is not empty and that UTF-8 can hold"
    for number, each in enumerate(pairs):
        if not isinstance(each, Pair):
            CORPORA.expect(name, each, f"{call}: pair {number} must be", _PAIR, good=False)
        for side, text in (("source", each.source), ("target", each.target)):
            if not _is_text(text):
                what = f"{call}: the {side} of pair {number} must be"
                CORPORA.expect(name, text, what, wanted, good=False)
    if not pairs:
        raise DataError(f"The corpus '{name}' has no pairs for {pair} in '{pool}'.")
    return pairs


def checked_report(name: str, corpus: Any, pool: str) -> Report | None:
    """The counts of a pool that was read; None where the corpus keeps none.

    Raises:
        PluginError: something else than a report.
    """
    found = getattr(corpus, "report", lambda _: None)(pool)
    good = found is None or isinstance(found, Report)
    wanted = "mt_lottery.data.filters.Report, or None"
    report: Report | None = CORPORA.expect(
        name, found, f"report('{pool}') must return", wanted, good
    )
    return report


def _is_text(text: Any) -> bool:
    if not isinstance(text, str) or is_empty(text):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
