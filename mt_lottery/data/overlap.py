"""How much of one split's text is in another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mt_lottery.data.filters import normalised
from mt_lottery.data.text import Pair

Pairs = Sequence[Pair]


class Overlap(NamedTuple):
    """Sentences whose source is in another split too (case and whitespace aside).

    Attributes:
        test_in_train: test sentences that are in the training text.
        dev_in_train: dev sentences that are in the training text.
        test_in_dev: test sentences that are in the dev set.
    """

    test_in_train: int = 0
    dev_in_train: int = 0
    test_in_dev: int = 0


def overlap_of(
    train: Pairs | None, dev: Pairs | None, test: Pairs | None, *, targets: bool = False
) -> Overlap:
    """Count the sentences that two splits share; 0 where either of the two is not there.

    Args:
        train, dev, test: pairs of the splits.
        targets: whether a source counts that is a target of the other split, as for several
            directions: ``ro-en`` may leak ``en-ro``.
    """

    def texts(pairs: Pairs | None) -> set[str]:
        found = {normalised(each.source) for each in pairs or ()}
        return found | {normalised(each.target) for each in pairs or () if targets}

    def count(pairs: Pairs | None, seen: set[str]) -> int:
        return sum(normalised(each.source) in seen for each in pairs or ())

    trained = texts(train) if dev or test else set()
    return Overlap(count(test, trained), count(dev, trained), count(test, texts(dev)))
