"""The first line of a translation, and when it is complete."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mt_lottery.report.tokens import decode_text

_BREAK = re.compile(r"[\r\n]")


def first_line(text: str) -> str:
    """The text up to the first newline, after leading whitespace is stripped."""
    return _BREAK.split(text.lstrip(), maxsplit=1)[0].rstrip()


class FirstLine:
    r"""Whether tokens hold a whole first line: text, and a line break after it.

    A token may end a line in its middle (``".\n"``, ``"\n\n"``); each is decoded once.

    Args:
        tokenizer: the model's.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._breaks: dict[int, bool] = {}

    def __call__(self, tokens: Sequence[int]) -> bool:
        """Whether the last of these tokens, all of a translation so far, completes the line."""
        last = tokens[-1]
        if last not in self._breaks:
            self._breaks[last] = _BREAK.search(decode_text(self._tokenizer, [last])) is not None
        if not self._breaks[last]:
            return False
        # the byte of a line break may be part of something else, and blank lines come before any
        return _BREAK.search(decode_text(self._tokenizer, tokens).lstrip()) is not None
